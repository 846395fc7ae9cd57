"""A real server on a real volume that really fills up: ext4 on a loop device.

What the law says of it: 507 as soon as free space is under the reserve, everything acknowledged is kept, DELETE
still works, and the upload goes on by itself once there is room.
"""

import hashlib
import os
import select
import subprocess
from contextlib import suppress

import pytest

from rig.server import Server
from rig.tus import Client

pytestmark = pytest.mark.crash

MIB = 1024 * 1024
RESERVE = 32 * MIB
CHECKPOINT = 4 * MIB


@pytest.fixture
def volume(tmp_path):
    image, place = tmp_path / "volume.ext4", tmp_path / "volume"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(160 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def send_until_answered(client, path, offset, content):
    client.begin(path, offset, len(content) - offset)
    with suppress(ConnectionError):  # the server reads on for a while only; its answer is here all the same
        for at in range(offset, len(content), MIB):
            if select.select([client.socket], [], [], 0)[0]:
                break
            client.send(content[at : at + MIB])
    return client.reply()


def free(volume):
    numbers = os.statvfs(volume)
    return numbers.f_bavail * numbers.f_frsize


@pytest.mark.parametrize("direct", ["true", "false"])
def test_a_full_volume_is_507_keeps_what_is_durable_and_recovers_by_itself(volume, direct):
    content = os.urandom(90 * MIB)
    settings = {"RESERVE": RESERVE, "CHECKPOINT_BYTES": CHECKPOINT, "DIRECT_BODY": direct}
    with Server(volume, **settings) as server, Client(server.port) as client:
        filler = client.create(50 * MIB)
        assert client.patch(filler, 0, content[: 40 * MIB]).offset == 40 * MIB
        path = client.create(len(content), "mix.wav")
        refused = send_until_answered(client, path, 0, content)
        assert (refused.status, refused.headers["retry-after"]) == (507, "60")

        client.connect()
        kept = client.head(path).offset
        assert 0 < kept < len(content)
        # Two checkpoints and what was buffered may pass the line before it is seen.
        assert free(volume) > RESERVE - 2 * CHECKPOINT - 4 * MIB
        assert (server.spool / path.rpartition("/")[2]).read_bytes()[:kept] == content[:kept]
        refused = client.request("POST", "/files", {"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
        assert refused.status == 507
        again = send_until_answered(client, path, kept, content)
        assert again.status == 507
        client.connect()
        kept = client.head(path).offset

        assert client.delete(filler).status == 204
        stored = client.patch(path, kept, content[kept:])
        assert (stored.status, stored.offset) == (204, len(content))
        published = server.store / "audio" / f"{hashlib.sha256(content).hexdigest()[:16]}.wav"
        assert published.read_bytes() == content
        log = server.log.read_text()
        assert log.count("creations and bodies get 507") == log.count("is kept again: uploads are taken") == 1
