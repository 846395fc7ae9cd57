"""A real server whose store is our double of R2.

Owns how the two are put together, and how a test waits until an upload is what it wants. Must not know what a test
asks.
"""

import json
import time
from pathlib import Path

from rig.r2 import R2
from rig.server import Server
from rig.tus import Client

MIB = 1 << 20
PART = 5 * MIB  # R2 takes none that is smaller
PATIENCE = 30.0


def server_with(r2: R2, folder: Path, **settings: str | float) -> Server:
    """Describe a server; contents over a MiB go in parts."""
    own: dict[str, str | float] = {
        "STORE": "s3",
        "S3_ENDPOINT_URL": r2.url,
        "S3_BUCKET": "first",
        "S3_ACCESS_KEY_ID": r2.access_key,
        "S3_SECRET_ACCESS_KEY": r2.secret,
        "S3_ADDRESSING": "path",
        "S3_PUT_LIMIT": MIB,
        "S3_PART_SIZE": PART,
        "S3_CONCURRENCY": 2,
    }
    server = Server(folder, **own | settings)
    server.env["AWS_CA_BUNDLE"] = str(r2.ca)
    return server


def send(server: Server, data: bytes, name: str = "song.wav") -> str:
    """Upload a whole content in one request; return its path."""
    with Client(server.port) as client:
        return client.create(len(data), name, data)


def status(server: Server, path: str) -> dict[str, object]:
    """Return the status document of an upload."""
    with Client(server.port) as client:
        found: dict[str, object] = json.loads(client.request("GET", f"{path}/status").body)
        return found


def wait_for(server: Server, path: str, wanted: str = "stored") -> dict[str, object]:
    """Wait until an upload has a status; return its document."""
    deadline = time.monotonic() + PATIENCE
    while (found := status(server, path))["status"] != wanted:
        assert time.monotonic() < deadline, f"{path}: {found}\n{server.log_tail()}"
        time.sleep(0.02)
    return found
