"""The life of one upload after a crash, as a client and an operator go on with it.

Owns the content that crash tests send and what must be true of it in the end. Must not know where the
server died.
"""

import hashlib
import json
import os
import random
import time
from contextlib import suppress

from rig.server import Server
from rig.tus import Client

BODY = random.Random(4).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
KEY = f"audio/{SHA256[:16]}.wav"
FIRST, SECOND, WHOLE = 100_000, 200_000, len(BODY)
OTHER = BODY[:100_000] + random.Random(5).randbytes(200_000)  # what another client might go on with
DEATH_LIMIT = 10.0  # seconds
STORED_LIMIT = 20.0  # seconds in which the queue must have published after a restart


def resume(client: Client, path: str) -> int | None:
    """Go on as a client does: ask, then send the rest. Return what the server said first, None when it is gone."""
    found = client.head(path)
    if found.status in {404, 410}:
        return None
    assert found.status == 200, found
    if found.offset < WHOLE:
        assert client.patch(path, found.offset, BODY[found.offset :]).offset == WHOLE
    return found.offset


def await_stored(client: Client, path: str) -> None:
    """Wait until the queue has done its work, and check what the server says of the content."""
    deadline = time.monotonic() + STORED_LIMIT
    while (status := json.loads(client.request("GET", f"{path}/status").body))["status"] != "stored":
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    assert (status["sha256"], status["key"], status["offset"]) == (SHA256, KEY, WHOLE)


def sweep(server: Server) -> None:
    """Let a day pass over whatever lies about, and clean once."""
    for file in [*server.spooled(), *server.store.glob(".incoming/*")]:
        with suppress(FileNotFoundError):  # discarded meanwhile
            os.utime(file, (1, 1))
    done = server.command("sweep")
    assert done.returncode == 0, done.stderr


def check_stored_once(server: Server) -> None:
    assert server.stored() == [server.store / KEY]
    check_object(server, KEY, BODY)


def check_object(server: Server, key: str, body: bytes) -> None:
    found = (server.store / key).read_bytes()
    assert hashlib.sha256(found).hexdigest() == hashlib.sha256(body).hexdigest(), f"{key}: {len(found)} bytes"
