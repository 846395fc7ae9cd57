"""The one table of statuses: what may follow what.

Owns every change of status. Must not know who asks for it or how it is stored. Invariant: a
transition that is not in `TRANSITIONS` cannot be written: the ledger asks `sources` which
statuses a change may start from and makes that a condition of its update.

    receiving ──(all bytes durable)──► received ──(published)──► stored
        │  └──(all bytes durable, and published at once)────────────┘ │
        └──(terminated | expired | invalid | lost)──┴──(terminated)───┴──► gone

A final upload begins as `assembling` instead and goes on likewise, but does not expire. A partial one stays `receiving`
for good, and is `gone` in the end.
"""

from tusplyr.core.model import Reason, Status

OPEN = frozenset({Status.RECEIVING, Status.ASSEMBLING})  # more bytes may come
WAITING = frozenset({Status.RECEIVED, Status.ASSEMBLING})  # the server has something to do
NEEDED = OPEN | WAITING  # its bytes in the spool are

TRANSITIONS: dict[tuple[Status, Status], frozenset[Reason | None]] = {
    (Status.RECEIVING, Status.RECEIVED): frozenset({None}),
    (Status.RECEIVING, Status.STORED): frozenset({None}),
    (Status.RECEIVED, Status.STORED): frozenset({None}),
    (Status.ASSEMBLING, Status.RECEIVED): frozenset({None}),
    (Status.ASSEMBLING, Status.STORED): frozenset({None}),
    (Status.RECEIVING, Status.GONE): frozenset(Reason),
    (Status.ASSEMBLING, Status.GONE): frozenset({Reason.TERMINATED, Reason.INVALID, Reason.LOST}),
    (Status.RECEIVED, Status.GONE): frozenset({Reason.TERMINATED, Reason.LOST}),
    (Status.STORED, Status.GONE): frozenset({Reason.TERMINATED}),
}


def sources(target: Status, reason: Reason | None = None) -> frozenset[Status]:
    """Return the statuses from which an upload may become `target` for `reason`."""
    return frozenset(start for (start, end), reasons in TRANSITIONS.items() if end is target and reason in reasons)
