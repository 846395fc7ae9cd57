"""A journal of transfers for tests of stores: the one in memory, with a record of what was written."""

import time
from collections.abc import Callable

from tusplyr.ledger.memory import MemoryJournal


class RecordingJournal(MemoryJournal):
    """Notes each call that writes, and fails at those that it is told to."""

    def __init__(self, clock: Callable[[], float] = time.time, needed: Callable[[str], bool] = lambda _: False) -> None:
        super().__init__(clock, needed)
        self.calls: list[str] = []
        self.failing: dict[int, Exception] = {}  # by number of a call, from 1

    def intend(self, key: str, sha256: str, source: str, part_size: int) -> None:
        self._note("intend")
        super().intend(key, sha256, source, part_size)

    def begin(self, key: str, multipart_id: str) -> None:
        self._note("begin")
        super().begin(key, multipart_id)

    def land(self, key: str, number: int, etag: str) -> None:
        self._note("land")
        super().land(key, number, etag)

    def forget(self, key: str) -> None:
        self._note("forget")
        super().forget(key)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if error := self.failing.get(len(self.calls)):
            raise error
