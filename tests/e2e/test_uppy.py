"""Uppy with its tus plugin in Chromium: what its buttons do to an upload.

The plugin is tus-js-client inside, with retries and a queue of its own.
"""

from pathlib import Path
from typing import Any

import pytest

from rig.driver import Browser
from rig.outcome import check_gone, check_sent, spell
from rig.proxy import Kind
from rig.server import Server
from rig.source import Source, write_wav
from rig.ways import MIB, PATIENT, cutting

pytestmark = pytest.mark.e2e

CHUNKED = {"retryDelays": PATIENT, "chunkSize": MIB}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return write_wav(tmp_path / "take.wav", 16 * MIB)


def visit(browser: Browser, source: Source, **call: object) -> dict[str, Any]:
    return browser.visit("/pages/uppy.html", source.path, call)


def test_an_upload_survives_every_kind_of_cut(server: Server, browser: Browser, source: Source) -> None:
    with cutting(server) as proxy:
        report = visit(browser, source, endpoint=f"{proxy.url}/files", options={"retryDelays": PATIENT})
        assert {kind for kind, _ in proxy.made} == set(Kind), report
    check_sent(server, report, source)
    assert [spell(request) for request in report["requests"]].count("POST 201") == 1


def test_pause_leaves_the_upload_open_and_resume_continues_it(server: Server, browser: Browser, source: Source) -> None:
    report = visit(browser, source, endpoint=f"{server.url}/files", options=CHUNKED, pauseAt=4 * MIB)
    assert report["paused"]["status"] == "receiving", report
    check_sent(server, report, source)
    assert [request["method"] for request in report["requests"]].count("POST") == 1
    (head,) = [request for request in report["requests"] if request["method"] == "HEAD"]
    assert 0 < head["offset"] < source.length


def test_cancel_deletes_the_upload_and_frees_the_spool(server: Server, browser: Browser, source: Source) -> None:
    report = visit(browser, source, endpoint=f"{server.url}/files", options=CHUNKED, cancelAt=4 * MIB)
    assert report["outcome"] == "cancelled", report
    assert spell(report["requests"][-1]) == "DELETE 204"
    check_gone(server, report["url"])
