"""An unmodified tus-js-client in Node, over connections that drop and a server that dies.

Owns the scenarios that a browser's user lives through. Must not know the server's inside: it looks at
replies and at the store. The client comes from npm (`npm ci` in tests/e2e/js; `make e2e` does it).
"""

from pathlib import Path
from typing import Any, Protocol

import pytest

from rig.driver import drive
from rig.outcome import check_gone, check_sent, spell
from rig.proxy import Kind, Proxy
from rig.server import Server
from rig.source import write_nothing, write_wav
from rig.ways import CLIENTS, EMPTY, LENGTH, MIB, PATIENT, WAYS, Way, cutting

pytestmark = pytest.mark.e2e

BIG = 112 * MIB  # bytes of samples in the WAV that goes through the cuts
CUTS = 36
KILLS = frozenset({11, 24})  # numbers of the cuts during which the server dies as well
RESENT = 256 * 1024  # bytes that one cut may cost on average, resets included


class Node(Protocol):
    def __call__(self, *, client: str = "tus-js-client", **arguments: object) -> dict[str, Any]: ...


@pytest.fixture
def node(js: Path) -> Node:
    """The driver: each call is a process of its own."""

    def run(*, client: str = "tus-js-client", **arguments: object) -> dict[str, Any]:
        return drive("node", "upload.mjs", cwd=js, client=client, **arguments)

    return run


def test_thirty_cuts_and_two_kills_end_in_a_published_file(node: Node, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "take.wav", BIG)
    server = Server(tmp_path, IDLE_TIMEOUT=20)

    def strike(number: int) -> None:
        if number in KILLS:
            server.kill()
            server.start()

    with Proxy(server.port, cuts=CUTS, span=(MIB, 4 * MIB), seed=30, strike=strike) as proxy, server:
        report = node(
            endpoint=f"{proxy.url}/files",
            path=str(source.path),
            metadata={"filename": "take.wav", "filetype": "audio/wav"},
            options={"retryDelays": PATIENT},
        )
        assert proxy.cuts >= 30
        assert {kind for kind, _ in proxy.made} == set(Kind)
        assert report["url"].startswith(f"{proxy.url}/files/"), "Location must lead through the proxy"
        assert [request["method"] for request in report["requests"]].count("POST") == 1, "it had to start again"
        check_sent(server, report, source)
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
    server: Server, node: Node, tmp_path: Path, options: dict[str, object], requests: list[str]
) -> None:
    source = write_wav(tmp_path / "take.wav", 350_000)
    report = node(
        endpoint=f"{server.url}/files",
        path=str(source.path),
        metadata={"filename": "声 \N{MICROPHONE}.WAV"},
        options={"retryDelays": None} | options,
    )
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]] == requests
    assert report["requests"][-1]["fileId"] == source.sha256[:16]


def test_abort_with_terminate_frees_the_spool_and_forgets_the_upload(
    server: Server, node: Node, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "take.wav", 400_000)
    report = node(
        endpoint=f"{server.url}/files",
        path=str(source.path),
        options={"chunkSize": 100_000, "retryDelays": None},
        abortAt=200_000,
        terminate=True,
    )
    assert report["outcome"] == "aborted", report
    assert spell(report["requests"][-1]) == "DELETE 204"
    check_gone(server, report["url"])


def test_a_second_process_continues_from_the_url_alone(server: Server, node: Node, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "take.wav", 400_000)
    first = node(
        endpoint=f"{server.url}/files",
        path=str(source.path),
        metadata={"filename": "take.wav"},
        options={"chunkSize": 100_000, "retryDelays": None},
        abortAt=200_000,
        terminate=False,
    )
    assert first["outcome"] == "aborted", first
    server.stop()
    server.start()
    second = node(uploadUrl=first["url"], path=str(source.path), options={"retryDelays": None})
    check_sent(server, second, source)
    assert [spell(request) for request in second["requests"]] == ["HEAD 200", "PATCH 204"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_later_process_continues_from_its_own_storage(
    server: Server, node: Node, tmp_path: Path, client: str
) -> None:
    source = write_wav(tmp_path / "take.wav", 400_000)
    call = WAYS[0].call(f"{server.url}/files") | {"client": client, "path": str(source.path)}
    call |= {"options": {"chunkSize": 100_000}, "storage": str(tmp_path / "uploads.json")}
    first = node(**call, abortAt=200_000, terminate=False)
    assert first["outcome"] == "aborted", first
    second = node(**call, resume=True)
    check_sent(server, second, source)
    assert spell(second["requests"][0]) == "HEAD 200"
    assert second["requests"][0]["offset"] >= 200_000


def test_a_client_told_of_an_upload_that_is_gone_starts_a_new_one(server: Server, node: Node, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "take.wav", 100_000)
    report = node(
        endpoint=f"{server.url}/files",
        uploadUrl=f"{server.url}/files/{'0' * 32}",
        path=str(source.path),
        metadata={"filename": "take.wav"},
        options={"retryDelays": None},
    )
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]] == ["HEAD 404", "POST 201", "PATCH 204"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_way_survives_every_kind_of_cut(server: Server, node: Node, tmp_path: Path, way: Way, client: str) -> None:
    source = write_wav(tmp_path / "take.wav", LENGTH)
    with cutting(server) as proxy:
        report = node(client=client, path=str(source.path), **way.call(f"{proxy.url}/files"))
        assert {kind for kind, _ in proxy.made} == set(Kind)
    check_sent(server, report, source, way.parts)
    assert [spell(request) for request in report["requests"]].count("POST 201") == way.parts + 1


@pytest.mark.parametrize("client", CLIENTS)
def test_an_empty_file_is_stored_by_its_creation(server: Server, node: Node, tmp_path: Path, client: str) -> None:
    source = write_nothing(tmp_path / "take.wav")
    report = node(client=client, path=str(source.path), **EMPTY.call(f"{server.url}/files"))
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]] == ["POST 201"]
