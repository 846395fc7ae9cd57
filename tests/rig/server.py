"""A real server as a process of its own, for the tests that kill it.

Owns one `python -m tusplyr serve` on one loopback port and one data directory, over as many lives
as a test needs. Must not know what a test asks of it. Invariant: no process outlives the `with`
block, and only processes that were started here are ended.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

START_LIMIT = 30.0  # seconds until /health/ready answers 200; generous, CI machines are shared
STOP_LIMIT = 15.0  # seconds until a signalled process is given up and killed
LOG_TAIL = 6000  # characters of the log that a failing test shows


def free_port() -> int:
    """Return a loopback port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Server:
    """One server over several lives: same port, same data directory, same settings.

    Used as a context manager, it starts on entry; on exit it is killed, and when the test failed
    the end of its log goes to standard error, where pytest shows it.
    """

    def __init__(self, folder: Path, **settings: str | float | Path) -> None:
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
        own = {"HOST": "127.0.0.1", "PORT": self.port, "DATA_DIR": self.data} | settings
        self.env = inherited | {f"TUSPLYR_{name}": str(value) for name, value in own.items()}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The process id of the present or last life."""
        assert self.process is not None, "never started"
        return self.process.pid

    @property
    def store(self) -> Path:
        return self.data / "store"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    def start(self) -> None:
        """Begin a life and wait until it is ready to answer."""
        assert self.process is None or self.process.poll() is not None, "still running"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tusplyr", "serve"], env=self.env, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._ready():
            code = self.process.poll()
            if code is not None:
                raise RuntimeError(f"the server ended with {code} before it was ready\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server was not ready after {START_LIMIT} s\n{self.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End this life at once, as the kernel would. No error when it is over already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end; return the seconds that it took. After `STOP_LIMIT` it is killed and that is an error."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {STOP_LIMIT} s after {how.name}\n{self.log_tail()}") from None
        return time.monotonic() - began

    def wait_dead(self, limit: float) -> bool:
        """Wait for the end of this life without asking for it; False when it still runs after `limit` seconds."""
        assert self.process is not None
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `tusplyr` command under the same settings."""
        line = [sys.executable, "-m", "tusplyr", *arguments]
        return subprocess.run(line, env=self.env, capture_output=True, text=True, timeout=60, check=False)

    def spooled(self) -> list[Path]:
        """Every file under the spool, whatever its layout."""
        return sorted(path for path in self.spool.rglob("*") if path.is_file())

    def stored(self) -> list[Path]:
        """Every object in the store, whatever lies beside it included."""
        return sorted(path for path in self.store.rglob("*") if path.is_file())

    def log_tail(self) -> str:
        """The end of what the server has written so far."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.kill()
        if kind is not None:
            sys.stderr.write(f"--- {self.log} ---\n{self.log_tail()}\n")
