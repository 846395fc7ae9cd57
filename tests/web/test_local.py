"""A server behind a socket in the file system: whose file it is, and that everything works through it."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.local import LocalClient, LocalServer
from web.service import BODY, TUS, ask, finished, post

MIB = 1024 * 1024


@pytest.fixture
def place() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "up.sock"


def serve(folder: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a server that cannot start, and return what it said."""
    line = [sys.executable, "-m", "tusplyr", "serve", "--socket", str(place), "--data-dir", str(folder / "other")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_an_upload_goes_through_and_the_file_is_gone_after_sigterm(tmp_path, place):
    content = os.urandom(3 * MIB)
    with LocalServer(tmp_path, place) as server:
        assert stat.S_IMODE(place.stat().st_mode) == 0o666
        with LocalClient(place) as client:
            path = client.create(len(content), "take.wav")
            assert client.patch(path, 0, content[:MIB]).offset == MIB
            client.begin(path, MIB, len(content) - MIB)
            client.send(content[MIB : 2 * MIB])
            server.kill()
        assert place.exists(), "nobody was there to remove it"
        server.start()
        with LocalClient(place) as client:
            offset = client.head(path).offset
            assert MIB <= offset <= 2 * MIB
            assert client.patch(path, offset, content[offset:]).status == 204
            assert ask(client, "GET", path).body == content
            assert b"tusplyr_bodies_direct_total 1.0" in ask(client, "GET", "/metrics").body, "read directly here too"
        server.stop(signal.SIGTERM)
    assert not place.exists()
    assert f"listening on http://unix:{place}:/files" in server.log.read_text()


def test_peers_are_trusted_as_proxies_and_need_no_token(tmp_path, place):
    with LocalServer(tmp_path, place) as server, LocalClient(server.place) as client:
        lines = (BODY, "Upload-Length: 1", "X-Forwarded-Proto: https", "X-Forwarded-Host: up.example")
        assert post(client, *lines, body=b"x").headers["location"].startswith("https://up.example/files/")
        assert post(client, "Upload-Length: 1", "Host: up.example").headers["location"].startswith("http://up.example/")
        assert ask(client, "HEAD", finished(client, b"y"), TUS).status == 200


def test_the_file_of_a_live_server_is_not_taken(tmp_path, place):
    with LocalServer(tmp_path, place) as server:
        refused = serve(tmp_path, place)
        assert refused.returncode == 1
        assert refused.stderr == f"Error: Cannot listen on {place}: another server is listening there.\n"
        with LocalClient(server.place) as client:
            assert ask(client, "GET", "/health/live").status == 200


def test_of_two_servers_that_start_at_once_one_gets_the_file_that_a_dead_one_left(tmp_path, place):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(place))
    line = [sys.executable, "-m", "tusplyr", "serve", "--socket", str(place), "--data-dir"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    servers = [subprocess.Popen([*line, str(tmp_path / name)], env=environ) for name in ("a", "b")]
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.05)
        (loser,) = (server for server in servers if server.poll() is not None)
        (winner,) = (server for server in servers if server is not loser)
        assert loser.returncode == 1
        with LocalClient(place) as client:
            assert ask(client, "GET", "/health/live").status == 200
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(20) == 0
        assert not place.exists()
    finally:
        for server in servers:
            server.kill()
            server.wait()


@pytest.mark.parametrize("kind", ["file", "directory", "link to nothing", "no directory"])
def test_nothing_but_a_socket_is_ever_replaced(tmp_path, place, kind):
    match kind:
        case "file":
            place.write_text("precious")
        case "directory":
            place.mkdir()
        case "link to nothing":
            place.symlink_to("nowhere")
        case _:
            place = place / "up.sock"
    refused = serve(tmp_path, place)
    assert refused.returncode == 1
    why = "No such file or directory" if kind == "no directory" else "something is there that is not a socket"
    assert refused.stderr == f"Error: Cannot listen on {place}: {why}.\n"
    if kind == "file":
        assert place.read_text() == "precious"


def test_a_path_that_is_too_long_for_a_socket_is_a_line(tmp_path, place):
    refused = serve(tmp_path, place.with_name("x" * 150))
    assert refused.returncode == 1
    assert refused.stderr.endswith("path too long.\n")
    assert refused.stderr.count("\n") == 1


def test_what_has_taken_the_place_of_the_file_is_left_there(tmp_path, place):
    with LocalServer(tmp_path, place) as server:
        place.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.fspath(place))
            server.stop()
            assert place.exists()
