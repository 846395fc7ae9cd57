"""What has happened since the server started, in numbers.

Owns plain counters that the engine adds to. Must not know who reads them (`web.ops` does, for Prometheus).
Invariant: a counter costs an addition, so that nothing on the hot path has to ask what it may count.
"""


class Tally:
    """Counters; `appending` is a gauge. `bytes` counts durable bytes of appends; `direct` and `plain` count bodies.

    `waiting`, `failing` and `stuck` are as the ledger had them when it was last asked.
    """

    __slots__ = (
        "appending",
        "bytes",
        "created",
        "direct",
        "expired",
        "failing",
        "lost",
        "plain",
        "postponed",
        "stored",
        "stuck",
        "terminated",
        "waiting",
    )

    def __init__(self) -> None:
        self.appending = 0
        self.bytes = 0
        self.created = 0
        self.direct = 0
        self.expired = 0
        self.failing = 0
        self.lost = 0
        self.plain = 0
        self.postponed = 0
        self.stored = 0
        self.stuck = 0
        self.terminated = 0
        self.waiting = 0
