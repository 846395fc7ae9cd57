"""An engine over adapters of one's choice, and a request body that follows a script."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tusplyr.core.commands import Append, Create
from tusplyr.core.decide import Limits
from tusplyr.core.digest import LibcryptoProvider
from tusplyr.core.errors import Cut, Stopped
from tusplyr.core.media import media_of
from tusplyr.core.model import Upload
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.claims import LocalClaims
from tusplyr.engine.concatenate import Concatenation
from tusplyr.engine.endings import Endings
from tusplyr.engine.engine import Engine, Means
from tusplyr.engine.handover import Handover
from tusplyr.engine.intake import Intake, Pace
from tusplyr.engine.offload import Offload
from tusplyr.engine.overlap import Overlap
from tusplyr.engine.publish import Publisher
from tusplyr.engine.setbacks import Setbacks
from tusplyr.engine.sweep import Sweeper
from tusplyr.engine.tally import Tally
from tusplyr.engine.worker import Worker
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool
from tusplyr.stores.memory import MemoryStore

WAV = media_of("take.wav")

CUT = Cut("the peer is gone")
HANG = asyncio.sleep  # a step of a script: nothing more comes until the body is stopped


class ScriptedBody:
    """`ports.Body` over a list of steps: bytes are a piece, a number is a pause in seconds, an error is raised.

    `HANG` waits for ever. When the script is over the end has been seen. With `known`, the end is seen with the last
    piece, as with a body that says how long it is.
    """

    def __init__(self, *script: bytes | float | BaseException | Callable, known: bool = False) -> None:
        self._script = list(script)
        self._known = known
        self._stopped = asyncio.Event()
        self._why: Stopped | None = None
        self.lent: list[memoryview] = []
        self.handed = bytearray()
        self.asked = 0
        self.waiting = False
        self._end_seen = False

    @property
    def ended(self) -> bool:
        return self._end_seen or (self._known and not self._script)

    def place(self, at: int) -> None:
        assert not self.asked, "the place is told before the first bytes are asked for"
        self.at = at

    async def next(self) -> memoryview | None:
        self.asked += 1
        while self._script:
            if self._why and not isinstance(self._script[0], bytes):
                raise self._why
            await self._pass_time()
            step = self._script.pop(0)
            if isinstance(step, bytes):
                return self._lend(step)
            if isinstance(step, BaseException):
                raise step
        self._end_seen = True
        return None

    def release(self, view: memoryview) -> None:
        self.lent.remove(view)
        view[:] = bytes(len(view))  # whoever still reads it reads something else
        view.release()

    def stop(self, why: Stopped) -> None:
        self._why = self._why or why
        self._stopped.set()

    async def _pass_time(self) -> None:
        step = self._script[0]
        if step is HANG or isinstance(step, (int, float)):
            self.waiting = step is HANG
            try:
                async with asyncio.timeout(None if step is HANG else step):
                    await self._stopped.wait()
            except TimeoutError:
                return
            finally:
                self.waiting = False
            assert self._why
            raise self._why

    def _lend(self, piece: bytes) -> memoryview:
        view = memoryview(bytearray(piece))
        self.lent.append(view)
        self.handed += piece
        return view


@dataclass
class Rig:
    """Everything that is put together; what is not given is made of memory."""

    ledger: Any = field(default_factory=MemoryLedger)
    spool: Any = field(default_factory=MemorySpool)
    store: Any = field(default_factory=MemoryStore)
    pace: Pace = field(default_factory=Pace)
    limits: Limits = field(default_factory=Limits)
    patience: float = 5.0
    provider: Any = field(default_factory=LibcryptoProvider)
    clock: Callable[[], float] = time.time
    retain: float = 3600.0
    slots: int = 2
    wait: float = 0.0
    redirect: bool = False
    overlaps: bool = False

    def __post_init__(self) -> None:
        self.offload = Offload(4, gather=0)
        self.claims = LocalClaims(self.patience)
        self.tally = Tally()
        self.handover = Handover(self.wait)
        self.setbacks = Setbacks(self.ledger, self.tally, self.clock)
        self.endings = Endings(self.ledger, self.spool, self.offload, self.tally, self.handover)
        parts = {"shipper": self.store, "ledger": self.ledger, "spool": self.spool, "offload": self.offload}
        self.overlap = Overlap(**parts, setbacks=self.setbacks) if self.overlaps else None
        self.publisher = Publisher(
            ledger=self.ledger,
            spool=self.spool,
            store=self.store,
            offload=self.offload,
            tally=self.tally,
            handover=self.handover,
            setbacks=self.setbacks,
            endings=self.endings,
            overlap=self.overlap,
        )
        intake = Intake(self.ledger, self.publisher, self.offload, self.pace)
        self.assembler = Assembler(
            ledger=self.ledger,
            spool=self.spool,
            claims=self.claims,
            offload=self.offload,
            intake=intake,
            provider=self.provider,
            setbacks=self.setbacks,
            endings=self.endings,
        )
        self.worker = Worker(
            ledger=self.ledger,
            queue=self.ledger,
            claims=self.claims,
            publisher=self.publisher,
            setbacks=self.setbacks,
            assembler=self.assembler,
            slots=self.slots,
            clock=self.clock,
        )
        self.sweeper = Sweeper(
            ledger=self.ledger,
            spool=self.spool,
            store=self.store,
            claims=self.claims,
            offload=self.offload,
            reading=self.offload,
            tally=self.tally,
            retain=self.retain,
            expire_after=self.limits.expire_after,
            clock=self.clock,
        )
        self.engine = Engine(
            Means(
                ledger=self.ledger,
                spool=self.spool,
                store=self.store,
                reading=self.offload,
                redirect=self.redirect,
                claims=self.claims,
                offload=self.offload,
                intake=intake,
                publisher=self.publisher,
                endings=self.endings,
                concatenation=Concatenation(
                    ledger=self.ledger,
                    spool=self.spool,
                    offload=self.offload,
                    assembler=self.assembler,
                    limits=self.limits,
                    tally=self.tally,
                    clock=self.clock,
                ),
                provider=self.provider,
                limits=self.limits,
                tally=self.tally,
            ),
            clock=self.clock,
        )

    async def create(
        self, length: int | None, *script: Any, known: bool = False, declared: str | None = None
    ) -> Upload:
        """Make an upload; with a script, its body is the first append."""
        body = ScriptedBody(*script, known=known)
        body_length = sum(map(len, script)) if known else None
        command = Create(length=length, media=WAV, append=bool(script), body_length=body_length, declared=declared)
        return (await self.engine.create(command, body)).upload

    async def append(self, upload_id: str, offset: int, body: ScriptedBody, length: int | None = None) -> Upload:
        """One PATCH."""
        return (await self.engine.append(upload_id, lambda: Append(offset=offset, body_length=length), body)).upload

    async def row(self, upload_id: str) -> Upload:
        """The row as the ledger has it."""
        row = await self.ledger.get(upload_id)
        assert row is not None
        return row

    def staged(self, upload_id: str) -> bytes:
        """All that the spool has of an upload."""
        with self.spool.staged(upload_id).open() as file:
            return file.read()

    def stored(self, key: str | None) -> bytes:
        """What is published under a key."""
        assert key is not None
        file = self.store.open(key)
        assert file is not None, f"nothing is published under {key}"
        with file:
            return file.read()

    async def emptied(self) -> None:
        """Wait until nothing is staged: what was stored is discarded after the reply."""
        await until(lambda: not list(self.spool.files()))

    def idle(self) -> bool:
        """Nobody holds anything."""
        return not self.claims._claims

    def close(self) -> None:
        """End the threads."""
        self.offload.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere; the limit of the whole test applies."""
    while not condition():  # noqa: ASYNC110 - conditions are facts of many kinds, some of them of other threads
        await asyncio.sleep(0.001)
