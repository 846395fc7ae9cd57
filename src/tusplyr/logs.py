"""Log lines: for a person, or one JSON object each.

Owns the shape of a line. Must not know what is logged. Invariant: a line of JSON is one line whatever the
message holds, and so is a line of text: what a client wrote cannot start a line of its own.
"""

import logging
import time

import msgspec

from tusplyr.settings import Settings

# They tell every statement; every request, with its signature; every connection.
TALKATIVE = ("aiosqlite", "boto3", "botocore", "s3transfer", "urllib3", "uvicorn")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00Z WARNING tusplyr.engine.publish: message`; a traceback follows indented."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\n    ")


class JsonLines(logging.Formatter):
    """One object a line: `time` (Unix seconds), `level`, `logger`, `message`, and `traceback` when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(settings: Settings) -> None:
    """Send log lines to standard error as the settings want them."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(level=LEVELS[settings.log_level], handlers=[handler], force=True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[settings.log_level]))
