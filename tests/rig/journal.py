"""A journal of transfers for tests of stores: a dictionary, and a record of what was written down in which order."""

import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from tusplyr.core.errors import Superseded
from tusplyr.ports import Multipart


class RecordingJournal:
    """`Journal` over a dictionary."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._transfers: dict[str, Multipart] = {}
        self.calls: list[str] = []
        self.failing: dict[int, Exception] = {}  # by number of a call, from 1

    def intend(self, key: str, sha256: str, part_size: int) -> None:
        with self._writing("intend"):
            begun = Multipart(key=key, sha256=sha256, part_size=part_size, begun_at=self._clock())
            self._transfers[key] = begun

    def begin(self, key: str, multipart_id: str) -> None:
        with self._writing("begin"):
            self._transfers[key] = replace(self._known(key), id=multipart_id)

    def land(self, key: str, number: int, etag: str) -> None:
        with self._writing("land"):
            known = self._known(key)
            self._transfers[key] = replace(known, parts=known.parts | {number: etag})

    def find(self, key: str) -> Multipart | None:
        return self._transfers.get(key)

    def forget(self, key: str) -> None:
        with self._writing("forget"):
            self._transfers.pop(key, None)

    def all(self) -> list[Multipart]:
        return list(self._transfers.values())

    def _known(self, key: str) -> Multipart:
        if key not in self._transfers:
            raise Superseded
        return self._transfers[key]

    def _writing(self, call: str) -> threading.Lock:
        self.calls.append(call)
        if error := self.failing.get(len(self.calls)):
            raise error
        return self._lock
