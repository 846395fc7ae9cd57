"""A bucket that takes far less than the clients send: what arrived waits on disk, and the server stays itself.

What `bench/` measures whole (`s3-slow`), a tenth as long.
"""

import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from rig.elsewhere import send, server_with, status
from rig.r2 import R2
from rig.tus import Client

pytestmark = pytest.mark.crash

RATE = 10_000_000 / 8  # bytes a second: 10 Mbit
CROWD = 8
LENGTH = 15_000_000
WATCHED = 10.0  # seconds of publishing that are watched after all have arrived
GROWTH = 50.0  # MiB
SLOWEST = 0.5  # seconds of the slowest answer but one in a hundred
PAUSE = 0.02  # seconds between two questions
GRACE = 4.0  # seconds; platforms kill after 5
BODIES = [random.Random(number).randbytes(LENGTH) for number in range(CROWD)]


class Watch:
    """Asks a server whether it lives, in a thread, for as long as the block takes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.taken: list[float] = []
        self.wrong: list[object] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.wait(PAUSE):
            began = time.monotonic()
            try:
                with Client(self.port) as client:
                    reply = client.request("GET", "/health/live")
                if reply.status != 200:
                    self.wrong.append(reply)
            except OSError as error:
                self.wrong.append(error)
            self.taken.append(time.monotonic() - began)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_rest: object) -> None:
        self._over.set()
        self._thread.join()


def memory(pid: int, name: str) -> float:
    """Return a figure of the process in MiB: VmRSS now, VmHWM the most so far."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def send_all(server) -> list[str]:
    """Have all of them arrive at once."""
    paths: list[str] = []
    threads = [threading.Thread(target=lambda body=body: paths.append(send(server, body))) for body in BODIES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == CROWD
    return paths


def test_memory_stays_flat_and_the_server_lives_while_the_bucket_takes_little(tmp_path):
    with R2(rate=RATE, folder=tmp_path) as r2, server_with(r2, tmp_path / "server") as server:
        r2.wait("AbortMultipartUpload", answered=True)  # what it looks at first belongs to the idle server
        idle = memory(server.pid, "VmRSS")
        with Watch(server.port) as watch:
            paths = send_all(server)
            time.sleep(WATCHED)
        assert watch.wrong == []
        assert len(watch.taken) > WATCHED / PAUSE / 10, "it was not asked often enough to say anything"
        assert sorted(watch.taken)[int(len(watch.taken) * 0.99)] < SLOWEST
        assert memory(server.pid, "VmHWM") - idle <= GROWTH
        assert {str(status(server, path)["status"]) for path in paths} <= {"received", "stored"}
        assert sum(seen.length for seen in r2.requests("UploadPart")) > RATE * WATCHED / 4, "it was being published"
        assert server.stop(signal.SIGTERM) < GRACE
