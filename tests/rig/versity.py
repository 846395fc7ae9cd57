"""A real S3 server that is not ours: versitygw over a folder, as a process of its own.

Owns one gateway on one loopback port; a folder under its own is a bucket. Must not know what a test asks of it.
Invariant: no process outlives the `with` block.
"""

import http.client
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import Self

from rig.buckets import Bucket
from rig.server import LOG_TAIL, free_port

BINARY = Path(__file__).parents[2] / ".work" / "bin" / "versitygw"  # the version that the Makefile pins, no other
MISSING = "versitygw is missing: run `make .work/bin/versitygw` (`make e2e` does; it needs go)"
START_LIMIT = 30.0  # seconds until it answers; CI machines are shared


class Versity:
    """One gateway; on entry it is ready."""

    access_key = "gateway-access-key"
    secret = "gateway-secret-key"
    region = "us-east-1"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.users = folder / "users"
        self.log = folder / "versitygw.log"
        self._numbers = count()

    def fresh(self) -> Bucket:
        """Make two new buckets."""
        number = next(self._numbers)
        name, other = f"test-{number}", f"test-{number}-other"
        for one in (name, other):
            (self.data / one).mkdir()
        return Bucket(
            server="versitygw",
            endpoint_url=self.url,
            region=self.region,
            access_key=self.access_key,
            secret=self.secret,
            name=name,
            other=other,
        )

    def __enter__(self) -> Self:
        self.data.mkdir()
        self.users.mkdir()
        line = [str(BINARY), "--port", f"127.0.0.1:{self.port}", "--access", self.access_key, "--secret", self.secret]
        line += ["--region", self.region, "--iam-dir", str(self.users), "--keep-alive", "posix", str(self.data)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"versitygw did not start\n{self.log.read_text(errors='replace')[-LOG_TAIL:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_rest: object) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True
