"""Pages for the browser, from another origin than the server's, as in production.

Owns one loopback port that serves a folder and things made for the occasion, and tells when a page was
loaded. Must not know what is on the pages. Invariant: it answers GET and nothing else.
"""

import http.server
import threading
from functools import partial
from pathlib import Path
from typing import Self

LIMIT = 60.0  # seconds


class Pages:
    """Serves the files of a folder, under /made/ what was put in `made`, at /signal an answer once `signal` is set."""

    def __init__(self, root: Path) -> None:
        self.made: dict[str, bytes] = {}
        self.signal = threading.Event()
        self._loads: dict[str, int] = {}
        self._loaded = threading.Condition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Answer, self, directory=str(root)))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="pages")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_rest: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def note(self, path: str) -> None:
        """Count a load."""
        with self._loaded:
            self._loads[path] = self._loads.get(path, 0) + 1
            self._loaded.notify_all()

    def loads(self, path: str) -> int:
        """Say how often a page was loaded."""
        return self._loads.get(path, 0)

    def await_loads(self, path: str, count: int) -> None:
        """Wait until a page was loaded so often."""
        with self._loaded:
            assert self._loaded.wait_for(lambda: self.loads(path) >= count, LIMIT), "nobody loaded the page"


class Answer(http.server.SimpleHTTPRequestHandler):
    """One request; quiet, and nothing is kept by the browser."""

    protocol_version = "HTTP/1.1"
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def __init__(self, pages: Pages, *rest: object, **settings: object) -> None:
        self._pages = pages
        super().__init__(*rest, **settings)

    def do_GET(self) -> None:
        self._pages.note(self.path)
        made = self._pages.made.get(self.path.removeprefix("/made/"))
        if self.path == "/signal":
            self._say(b"", 204 if self._pages.signal.wait(LIMIT) else 504)
        elif made is not None:
            self._say(made, 200)
        else:
            super().do_GET()

    def _say(self, made: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/javascript; charset=utf-8")
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    def log_message(self, *_rest: object) -> None:
        """Say nothing."""
