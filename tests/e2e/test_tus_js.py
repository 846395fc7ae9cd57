"""An unmodified tus-js-client in Node, over connections that drop and a server that dies.

Owns the scenarios that a browser's user lives through. Must not know the server's inside: it looks at
replies and at the store. The client comes from npm (`npm ci` in tests/e2e/js; `make e2e` does it).
"""

import hashlib
import http.client
import json
import os
import random
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.proxy import Kind, Proxy
from rig.server import Server

pytestmark = pytest.mark.e2e

JS = Path(__file__).parent / "js"
MIB = 1 << 20
BIG = 112 * MIB  # bytes of samples in the WAV that goes through the cuts
CUTS = 36
KILLS = frozenset({11, 24})  # numbers of the cuts during which the server dies as well
RESENT = 256 * 1024  # bytes that one cut may cost on average, resets included
PATIENT = [100] * 100  # ms before each retry: the server is away for longer than the default schedule allows
LIMIT = 240  # seconds for one run of the client


@pytest.fixture(scope="module", autouse=True)
def _tus_js_client() -> None:
    if (JS / "node_modules" / "tus-js-client").is_dir():
        return
    missing = "tus-js-client is not installed: run `npm ci` in tests/e2e/js (`make e2e` does)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def write_wav(path: Path, length: int, seed: int = 1) -> str:
    """Write a WAV with `length` bytes of noise, a piece at a time; return the SHA-256 of the file."""
    noise, digest = random.Random(seed), hashlib.sha256()
    rate, channels, width = 44_100, 2, 2
    frame = channels * width
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 8 * width)
    head = struct.pack("<4sI4s", b"RIFF", 36 + length, b"WAVE") + form + struct.pack("<4sI", b"data", length)
    with path.open("wb") as file:
        digest.update(head)
        file.write(head)
        for at in range(0, length, MIB):
            piece = noise.randbytes(min(MIB, length - at))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def node(**arguments: object) -> dict[str, Any]:
    """Run the driver once, as a process of its own, and return what it reported."""
    line = ["node", "upload.mjs", json.dumps(arguments)]
    run = subprocess.run(line, cwd=JS, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert run.stdout, run.stderr
    return json.loads(run.stdout)


def get(server: Server, path: str) -> tuple[int, bytes]:
    """GET from the server itself, past any proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check_spool_empty(server: Server) -> None:
    """No staged bytes are left, a moment after the reply at the latest."""
    deadline = time.monotonic() + 5
    while left := server.spooled():
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def check_stored(server: Server, report: dict[str, Any], sha256: str, length: int) -> None:
    """The client was told of success, the server says `stored`, and the object is the source."""
    assert report["outcome"] == "success", report
    path = "/files/" + report["url"].rpartition("/")[2]
    code, body = get(server, f"{path}/status")
    status = json.loads(body)
    key = f"audio/{sha256[:16]}.wav"
    assert code == 200
    assert (status["status"], status["offset"], status["length"]) == ("stored", length, length)
    assert (status["file_id"], status["sha256"], status["key"]) == (sha256[:16], sha256, key)
    assert status["media_type"] == "audio/wav"
    with (server.store / key).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sha256
    assert server.stored() == [server.store / key]
    check_spool_empty(server)


def test_thirty_cuts_and_two_kills_end_in_a_published_file(tmp_path: Path) -> None:
    source = tmp_path / "take.wav"
    sha256 = write_wav(source, BIG)
    server = Server(tmp_path, IDLE_TIMEOUT=20)

    def strike(number: int) -> None:
        if number in KILLS:
            server.kill()
            server.start()

    with Proxy(server.port, cuts=CUTS, span=(MIB, 4 * MIB), seed=30, strike=strike) as proxy, server:
        report = node(
            endpoint=f"{proxy.url}/files",
            path=str(source),
            metadata={"filename": "take.wav", "filetype": "audio/wav"},
            options={"retryDelays": PATIENT},
        )
        assert proxy.cuts >= 30
        assert {kind for kind, _ in proxy.made} == set(Kind)
        assert report["url"].startswith(f"{proxy.url}/files/"), "Location must lead through the proxy"
        assert [request["method"] for request in report["requests"]].count("POST") == 1, "it had to start again"
        check_stored(server, report, sha256, source.stat().st_size)
    lost = bytes_lost(proxy.made, [request["offset"] for request in report["requests"] if request["method"] == "HEAD"])
    lost = {number: cut for number, cut in lost.items() if number not in KILLS}
    assert [cut for cut in lost.values() if cut[0] is not Kind.RST and cut[1]] == [], "bytes were thrown away"
    assert sum(count for _, count in lost.values()) <= CUTS * RESENT, lost


def bytes_lost(cuts: list[tuple[Kind, int]], found: list[int]) -> dict[int, tuple[Kind, int]]:
    """Return for each cut (from 1) how many bytes that had reached the server were missing from the next HEAD."""
    starts = [0, *found]
    pairs = zip(starts, cuts, found, strict=False)
    return {number: (kind, start + sent - now) for number, (start, (kind, sent), now) in enumerate(pairs, 1)}


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        pytest.param({}, ["POST 201", "PATCH 204"], id="one PATCH"),
        pytest.param({"chunkSize": 100_000}, ["POST 201", *["PATCH 204"] * 4], id="several PATCHes"),
        pytest.param({"uploadDataDuringCreation": True}, ["POST 201"], id="bytes with the creation"),
        pytest.param(
            {"uploadDataDuringCreation": True, "chunkSize": 200_000},
            ["POST 201", "PATCH 204"],
            id="first bytes with the creation",
        ),
        pytest.param({"overridePatchMethod": True}, ["POST 201", "POST/PATCH 204"], id="PATCH as an overridden POST"),
    ],
)
def test_each_way_of_sending_is_understood(
    server: Server, tmp_path: Path, options: dict[str, object], requests: list[str]
) -> None:
    source = tmp_path / "take.wav"
    sha256 = write_wav(source, 350_000)
    report = node(
        endpoint=f"{server.url}/files",
        path=str(source),
        metadata={"filename": "声 \N{MICROPHONE}.WAV"},
        options={"retryDelays": None} | options,
    )
    check_stored(server, report, sha256, source.stat().st_size)
    assert [spell(request) for request in report["requests"]] == requests
    assert report["requests"][-1]["fileId"] == sha256[:16]


def spell(request: dict[str, Any]) -> str:
    override = f"/{request['override']}" if request["override"] else ""
    return f"{request['method']}{override} {request['status']}"


def test_an_empty_file_is_stored_by_its_creation(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "nothing.wav"
    source.touch()
    report = node(endpoint=f"{server.url}/files", path=str(source), metadata={"filename": "nothing.wav"}, options={})
    check_stored(server, report, hashlib.sha256().hexdigest(), 0)
    assert [spell(request) for request in report["requests"]] == ["POST 201"]


def test_abort_with_terminate_frees_the_spool_and_forgets_the_upload(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "take.wav"
    write_wav(source, 400_000)
    report = node(
        endpoint=f"{server.url}/files",
        path=str(source),
        options={"chunkSize": 100_000, "retryDelays": None},
        abortAt=200_000,
        terminate=True,
    )
    assert report["outcome"] == "aborted", report
    assert spell(report["requests"][-1]) == "DELETE 204"
    assert get(server, f"/files/{report['url'].rpartition('/')[2]}")[0] in {404, 410}
    check_spool_empty(server)
    assert server.stored() == []


def test_a_second_process_continues_from_the_url_alone(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "take.wav"
    sha256 = write_wav(source, 400_000)
    first = node(
        endpoint=f"{server.url}/files",
        path=str(source),
        metadata={"filename": "take.wav"},
        options={"chunkSize": 100_000, "retryDelays": None},
        abortAt=200_000,
        terminate=False,
    )
    assert first["outcome"] == "aborted", first
    server.stop()
    server.start()
    second = node(uploadUrl=first["url"], path=str(source), options={"retryDelays": None})
    check_stored(server, second, sha256, source.stat().st_size)
    assert [spell(request) for request in second["requests"]] == ["HEAD 200", "PATCH 204"]


def test_a_client_told_of_an_upload_that_is_gone_starts_a_new_one(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "take.wav"
    sha256 = write_wav(source, 100_000)
    report = node(
        endpoint=f"{server.url}/files",
        uploadUrl=f"{server.url}/files/{'0' * 32}",
        path=str(source),
        metadata={"filename": "take.wav"},
        options={"retryDelays": None},
    )
    check_stored(server, report, sha256, source.stat().st_size)
    assert [spell(request) for request in report["requests"]] == ["HEAD 404", "POST 201", "PATCH 204"]
