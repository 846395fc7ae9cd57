"""Running the application under uvicorn, and ending it.

Owns the listening socket, the signals and the order of the end. Must not know what the application does.
Invariant: after SIGTERM or SIGINT every running body has made its checkpoint and every client that listens
has its answer within `GRACE` seconds, whoever is stalled; a second signal does not wait.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from tusplyr.web.edge import App
from tusplyr.web.protocol import TusplyrProtocol

GRACE = 3  # seconds for what is still running after the signal; platforms kill after 5
BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError when the address is in use or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


async def serve(app: App, listener: socket.socket, stop: Callable[[], None]) -> None:
    """Serve until a signal comes. `stop` is called at once when it does; it ends what is being received."""
    config = uvicorn.Config(
        app,
        http=TusplyrProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )
    await _Server(config, stop).serve([listener])


class _Server(uvicorn.Server):
    """uvicorn, with our word on signals: it would raise them again once it has ended."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._stop()
