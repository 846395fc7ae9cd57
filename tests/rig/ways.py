"""The seven ways in which tus-js-client sends a file, and the network that each of them has to survive."""

from typing import NamedTuple

from rig.proxy import Proxy
from rig.server import Server

KIB, MIB = 1 << 10, 1 << 20
RELEASED, COMING = CLIENTS = ("tus-js-client", "tus-js-client-next")  # both lines, as tests/e2e/js has them
PATIENT = [100] * 100  # ms before each retry: the server is away for longer than the default schedule allows
CUTS = 3  # one of each kind
SPAN = (200 * KIB, 700 * KIB)
LENGTH = 6 * MIB  # bytes of samples: enough for all cuts, in parts and in chunks too


class Way(NamedTuple):
    """One way.

    Attributes:
        name: in words.
        options: for the client.
        stream: whether the file is sent as a stream of unknown length.
        parts: how many partial uploads it is sent as; the file is one more.
    """

    name: str
    options: dict[str, object]
    stream: bool = False
    parts: int = 0

    def call(self, endpoint: str) -> dict[str, object]:
        """Return the arguments of a driver."""
        metadata = {"filename": "take.wav", "filetype": "audio/wav"}
        options = {"retryDelays": PATIENT} | self.options
        return {"endpoint": endpoint, "metadata": metadata, "stream": self.stream, "options": options}


EMPTY = Way("empty file", {})
WAYS = (
    Way("single", {}),
    Way("chunked", {"chunkSize": MIB}),
    Way("data in creation", {"uploadDataDuringCreation": True, "chunkSize": MIB}),
    Way("deferred stream", {"uploadLengthDeferred": True, "chunkSize": MIB}, stream=True),
    Way("parallel", {"parallelUploads": 3}, parts=3),
    Way("overridden PATCH", {"overridePatchMethod": True}),
)


def cutting(server: Server) -> Proxy:
    """Return a proxy that cuts once in each way."""
    return Proxy(server.port, cuts=CUTS, span=SPAN, seed=5)
