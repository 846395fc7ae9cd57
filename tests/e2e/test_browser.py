"""An unmodified tus-js-client in Chromium: pages of one origin upload to a server of another, over cut connections.

Owns what only a browser has: CORS, XMLHttpRequest, reloads and localStorage. Must not know the server's
inside. The clients come from npm, Chromium is the distribution's.
"""

from pathlib import Path

import pytest

from rig.driver import Browser
from rig.outcome import check_sent, spell
from rig.proxy import Kind, Proxy
from rig.server import Server
from rig.source import write_nothing, write_wav
from rig.ways import CLIENTS, COMING, CUTS, EMPTY, LENGTH, MIB, WAYS, Way, cutting

pytestmark = pytest.mark.e2e


PAGE = "/pages/tus.html"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_way_survives_every_kind_of_cut(
    server: Server, browser: Browser, tmp_path: Path, way: Way, client: str
) -> None:
    source = write_wav(tmp_path / "take.wav", LENGTH)
    with cutting(server) as proxy:
        call = way.call(f"{proxy.url}/files") | {"fetch": client == COMING}
        report = browser.visit(f"{PAGE}?{client}", source.path, call)
        assert {kind for kind, _ in proxy.made} == set(Kind), report
    check_sent(server, report, source, way.parts)
    assert [spell(request) for request in report["requests"]].count("POST 201") == way.parts + 1


def test_the_coming_client_over_xmlhttprequest_gives_up_at_a_cut_and_continues_when_its_page_is_loaded_again(
    server: Server, browser: Browser, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "take.wav", LENGTH)
    with cutting(server) as proxy:
        call = WAYS[0].call(f"{proxy.url}/files")
        again = call | {"resume": True}
        report = browser.visit(f"{PAGE}?{COMING}", source.path, call, *[again] * CUTS)
        assert {kind for kind, _ in proxy.made} == set(Kind), report
    check_sent(server, report, source)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_coming_client_over_xmlhttprequest_sends_in_each_way(
    server: Server, browser: Browser, tmp_path: Path, way: Way
) -> None:
    source = write_wav(tmp_path / "take.wav", LENGTH)
    report = browser.visit(f"{PAGE}?{COMING}", source.path, way.call(f"{server.url}/files"))
    check_sent(server, report, source, way.parts)
    assert [spell(request) for request in report["requests"]].count("POST 201") == way.parts + 1


@pytest.mark.parametrize("client", CLIENTS)
def test_an_empty_file_is_stored_by_its_creation(server: Server, browser: Browser, tmp_path: Path, client: str) -> None:
    source = write_nothing(tmp_path / "take.wav")
    report = browser.visit(f"{PAGE}?{client}", source.path, EMPTY.call(f"{server.url}/files"))
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]] == ["POST 201"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_that_is_reloaded_in_the_middle_of_a_body_continues_from_its_own_storage(
    server: Server, browser: Browser, tmp_path: Path, client: str
) -> None:
    source = write_wav(tmp_path / "take.wav", 24 * MIB)
    page, pages = f"{PAGE}?{client}", browser.pages
    loads = pages.loads(page) + 2

    def strike(_number: int) -> None:
        pages.signal.set()
        pages.await_loads(page, loads)  # the body stands still until the page that sends it is gone

    with Proxy(server.port, cuts=1, span=(12 * MIB, 12 * MIB), strike=strike) as proxy:
        call = WAYS[0].call(f"{proxy.url}/files")
        pages.signal.clear()
        report = browser.visit(page, source.path, call | {"until": "/signal"}, call | {"resume": True})
        assert proxy.cuts == 1
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]] == ["HEAD 200", "PATCH 204"]
    assert 0 < report["requests"][0]["offset"] <= 12 * MIB
