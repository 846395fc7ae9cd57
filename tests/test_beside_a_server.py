"""Commands beside a server of which they do not know how it was started."""

import os
import sqlite3
import subprocess
import sys

from rig.server import Server
from rig.tus import Client

DAY = 86_400


def command(server, *words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    line = [sys.executable, "-m", "tusplyr", *words, "--data-dir", str(server.data)]
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)


def idle_for_two_days(server, client):
    path = client.create(10, "a.wav")
    assert client.patch(path, 0, b"01234").offset == 5
    with sqlite3.connect(server.data / "tusplyr.db") as database:
        database.execute("UPDATE uploads SET updated_at = updated_at - ?", (2 * DAY,))
    return path


def test_a_sweep_by_hand_ends_nothing_that_the_server_has_promised_to_keep(tmp_path):
    with Server(tmp_path, EXPIRE_AFTER="7d") as server, Client(server.port) as client:
        path = idle_for_two_days(server, client)
        assert command(server, "sweep").returncode == 0
        client.connect()
        assert client.head(path).offset == 5


def test_what_has_expired_can_be_ended_by_hand(tmp_path):
    with Server(tmp_path) as server, Client(server.port) as client:
        path = idle_for_two_days(server, client)
        done = command(server, "uploads", "terminate", path.rpartition("/")[2])
        assert (done.returncode, done.stderr) == (0, "")
