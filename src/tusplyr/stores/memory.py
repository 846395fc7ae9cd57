"""The store in memory, for tests of the engine: the same contract.

Owns published bytes by key. Must not know a disk.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO

from tusplyr.core.errors import Conflict
from tusplyr.core.model import Content
from tusplyr.ports import Halted, Staged, never


class MemoryStore:
    """`ports.Store` over a dict."""

    prompt = True

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def publish(self, content: Content, source: Staged, *, compare: bool = True, halted: Halted = never) -> bool:  # noqa: ARG002 - it is quick
        """See `ports.Store.publish`."""
        with source.open() as file:
            data = file.read()
        there = self._objects.setdefault(content.key, data)
        if there is not data and not compare:
            return False
        if there != data:
            raise Conflict(f"other content is stored under {content.key}")
        return True

    def address(self, key: str) -> str | None:  # noqa: ARG002 - none has one
        """See `ports.Store.address`."""
        return None

    def open(self, key: str) -> BinaryIO | None:
        """See `ports.Store.open`."""
        return io.BytesIO(self._objects[key]) if key in self._objects else None

    def has(self, content: Content) -> bool:
        """See `ports.Store.has`."""
        return content.key in self._objects and len(self._objects[content.key]) == content.length

    def keys(self) -> Iterator[str]:
        """See `ports.Store.keys`."""
        yield from sorted(self._objects)

    def sweep(self, older_than: float) -> int:  # noqa: ARG002 - nothing is ever left behind in memory
        """See `ports.Store.sweep`."""
        return 0

    def close(self) -> None:
        """See `ports.Store.close`."""
