"""Ports that stop working for ever at their n-th call, as those of a process that dies there."""

import threading
from inspect import isawaitable, ismethod


class Died(BaseException):
    """The process is no more. Not an `Exception`, so that nothing recovers from it."""


class Fate:
    """Counts calls and ends the process before or after the n-th. Afterwards nothing is done any more."""

    def __init__(self, nth: int, *, after: bool) -> None:
        self._left = nth
        self._after = after
        self._lock = threading.Lock()
        self.dead = False
        self.last = "nothing"

    def end(self) -> None:
        """Die now: what runs finishes its call of a port and gets no answer to the next."""
        with self._lock:
            self.dead = True

    def before(self, name: str) -> bool:
        """Die, or return whether the call is the last one, to be followed by `after`."""
        with self._lock:
            if self.dead:
                raise Died
            self._left -= 1
            if self._left:
                return False
            self.last = name
            self.dead = True
            if not self._after:
                raise Died
            return True


class Mortal:
    """A port whose calls are counted by a fate."""

    def __init__(self, target, fate: Fate) -> None:
        self._target = target
        self._fate = fate

    def __getattr__(self, name: str):
        method = getattr(self._target, name)
        if not ismethod(method):
            return method

        def call(*args, **values):
            try:
                last = self._fate.before(name)
            except Died:
                if name == "close":
                    method()  # the kernel closes the files of the dead
                raise
            if last and name == "write":
                args = (args[0][: len(args[0]) // 2], *args[1:])  # torn
            result = method(*args, **values)
            if isawaitable(result):
                return self._awaited(result, last)
            return self._result(result, last)

        return call

    async def _awaited(self, result, last: bool):
        return self._result(await result, last)

    def _result(self, result, last: bool):
        if last:
            if hasattr(result, "close"):
                result.close()
            raise Died
        return Mortal(result, self._fate) if hasattr(result, "sync") else result
