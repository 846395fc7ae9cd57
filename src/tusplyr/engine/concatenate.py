"""Asking for a final upload.

Owns what happens between the request and its reply; `assemble` does the work. Must not know a protocol. Invariants: the
row of a final upload exists only if everything that it is made of is complete and cannot go before it is assembled; the
same request is the same upload.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable

from tusplyr.core import decide
from tusplyr.core.commands import Concatenate
from tusplyr.core.decide import Limits
from tusplyr.core.errors import BadPartial, Crowded, DigestMismatch, Superseded, about
from tusplyr.core.model import Kind, Reason, Status, Upload
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.offload import Offload
from tusplyr.engine.tally import Tally
from tusplyr.ports import Ledger, Spool

PATIENCE = 1.0  # seconds that a reply waits for the upload to be assembled


class Concatenation:
    """Creates final uploads."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        spool: Spool,
        offload: Offload,
        assembler: Assembler,
        limits: Limits,
        tally: Tally,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._offload = offload
        self._assembler = assembler
        self._limits = limits
        self._tally = tally
        self._clock = clock

    async def create(self, command: Concatenate) -> Upload:
        """See `Engine.concatenate`."""
        generation = 0
        while True:
            final_id = _final_id(command, generation)
            row = await self._ledger.get(final_id)
            if row is None:
                try:
                    return await self._assembled(await self._begin(final_id, command))
                except Superseded:
                    continue  # somebody has just asked for the same, or one of the others has changed: look again
            if row.status is not Status.GONE:
                if command.length not in {None, row.length}:
                    raise BadPartial(f"These uploads have {row.length} bytes together, and not {command.length}.")
                return await self._assembled(row)
            generation += 1

    async def _begin(self, final_id: str, command: Concatenate) -> Upload:
        """Create the row, if it may be; from then on it is the server's to assemble the upload."""
        now = self._clock()
        partials = {
            each: decide.present(await self._ledger.get(each), self._limits, now)
            for each in dict.fromkeys(command.partials)
        }
        length = decide.concatenate(command, [partials[each] for each in command.partials], self._limits)
        if self._assembler.crowded:
            raise Crowded
        await self._offload.run(self._spool.admit, length + self._assembler.wanting)
        final = Upload(
            id=final_id,
            length=length,
            media=command.media,
            metadata=command.metadata,
            declared=command.declared,
            kind=Kind.FINAL,
            partials=command.partials,
            concat=command.concat,
            status=Status.ASSEMBLING,
            created_at=now,
            updated_at=now,
        )
        await self._ledger.create(final, list(partials.values()))
        self._tally.created += 1
        return final

    async def _assembled(self, final: Upload) -> Upload:
        """Return the row of a final upload, once it is assembled or that takes longer than a client likes to wait."""
        with about(final.id):
            if final.status is Status.ASSEMBLING:
                await asyncio.wait({self._assembler.begin(final)}, timeout=PATIENCE)
            row = await self._ledger.get(final.id)
            if row is not None and row.reason is Reason.INVALID:
                raise DigestMismatch
            return decide.present(row, self._limits)


def _final_id(command: Concatenate, generation: int) -> str:
    """Return the id of a final upload. It says no more than the ids that it is made of.

    Other spellings of the same addresses make another upload: each is echoed as it was sent.
    """
    facts = [
        *command.partials,
        command.concat.hex(),
        (command.metadata or b"").hex(),
        command.declared or "",
        command.key or "",
        str(generation),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
