"""A server that begins to publish elsewhere says so, and so do the commands, until what it has published is there."""

import hashlib
import json
import os
import random
import subprocess
import sys
from contextlib import closing

import pytest

from rig.buckets import at_double, connect
from rig.elsewhere import send, server_with, status, wait_for
from rig.r2 import R2
from rig.server import Server
from rig.tus import Client

DATA = random.Random(7).randbytes(300_000)
KEY = f"audio/{hashlib.sha256(DATA).hexdigest()[:16]}.wav"
HERE = "store/ in DATA_DIR"


def bare(server, *words):
    """Run a command that knows the data directory and nothing else."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    line = [sys.executable, "-m", "tusplyr", *words, "--data-dir", str(server.data)]
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)


def told(server):
    return [line for line in server.log.read_text().splitlines() if "WARNING" in line]


def warnings(done):
    return [finding["text"] for finding in json.loads(done.stdout) if finding["verdict"] == "warn"]


@pytest.fixture
def moved(tmp_path):
    """A server of which one file is on disk, and that publishes to a bucket since."""
    with Server(tmp_path) as server:
        path = send(server, DATA)
        assert status(server, path)["status"] == "stored"
        server.stop()
    with R2() as r2, server_with(r2, tmp_path, S3_PREFIX="pre/") as server:
        yield r2, server, path


def test_the_start_says_what_is_left_where_and_that_is_true(moved):
    r2, server, path = moved
    (line,) = told(server)
    assert f"content is published to s3://first/pre/ at {r2.url} from now on" in line
    assert HERE in line
    with Client(server.port) as client:
        assert client.request("GET", path).status == 410
    server.stop()
    server.start()
    assert len(told(server)) == 1


def test_what_is_copied_as_operations_says_is_found_again(moved):
    r2, server, path = moved
    (text,) = warnings(server.command("doctor", "--json"))
    assert KEY in text
    assert HERE in text
    done = server.command("verify")
    assert f"{KEY}: is in the ledger, but not in the store" in done.stdout
    assert f"The server published to {HERE} before" in done.stderr
    with closing(connect(at_double(r2))) as bucket:
        bucket.put_object(Bucket="first", Key=f"pre/{KEY}", Body=(server.store / KEY).read_bytes())
    assert warnings(server.command("doctor", "--json")) == []
    assert server.command("verify").stdout == f"{KEY}: ok\n1 object checked, 0 wrong\n"
    with Client(server.port) as client:
        assert client.request("GET", path).body == DATA
    wait_for(server, send(server, DATA))
    assert [seen.key for seen in r2.requests("PutObject")].count(f"pre/{KEY}") == 1


def test_commands_without_the_settings_of_the_server_say_so(moved):
    r2, server, _ = moved
    (text,) = warnings(bare(server, "doctor", "--json"))
    assert text == f"the server publishes to s3://first/pre/ at {r2.url}, and these settings say {HERE}"
    done = bare(server, "verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: The server publishes to s3://first/pre/ at {r2.url}, and these settings say")
    assert bare(server, "verify", "--force").stdout == f"{KEY}: ok\n1 object checked, 0 wrong\n"
    done = bare(server, "sweep")
    assert (done.returncode, done.stdout) == (0, "nothing to sweep\n")
    assert "no store is swept" in done.stderr


def test_a_server_that_has_published_nothing_moves_without_a_word(tmp_path):
    with Server(tmp_path) as server:
        server.stop()
    with R2() as r2, server_with(r2, tmp_path) as server:
        assert told(server) == []
        assert warnings(server.command("doctor", "--json")) == []
