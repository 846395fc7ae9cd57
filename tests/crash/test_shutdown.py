"""A deploy: the server is asked to end while phones hang in the middle of their bodies."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rig.server import Server
from rig.tus import Client

pytestmark = pytest.mark.crash

CLIENTS = 20
LENGTH = 1_000_000
GRACE = 4.0  # seconds; the platform kills after 5


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stalled_clients_neither_delay_the_end_nor_lose_bytes(tmp_path: Path, how: signal.Signals) -> None:
    """D-17."""
    with Server(tmp_path, IDLE_TIMEOUT=60) as server, ExitStack() as connections:
        sent: dict[str, int] = {}
        clients = [connections.enter_context(Client(server.port)) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            path = client.create(LENGTH)
            sent[path] = 50_000 + number
            client.begin(path, 0, LENGTH)
            client.send(bytes(sent[path]))
        time.sleep(0.5)  # every byte is in; only the ends are missing

        assert server.stop(how) < GRACE
        assert [client.reply().status for client in clients] == [503] * CLIENTS

        server.start()
        with Client(server.port) as client:
            assert {path: client.head(path).offset for path in sent} == sent


def test_idle_connections_do_not_delay_the_end(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.port) as kept, Client(server.port) as silent:
        path = kept.create(10)
        silent.send(b"PATCH ")
        assert server.stop() < GRACE
        server.start()
        kept.connect()
        assert kept.head(path).offset == 0
