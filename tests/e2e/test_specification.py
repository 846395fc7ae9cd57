"""The end-to-end specification of tus-js-client, as its authors publish it, with our address for their server's.

It is part of the bundle of specs in the npm package; nothing of it is copied here.
"""

import re
from pathlib import Path

import pytest

from rig.driver import Browser
from rig.server import Server
from rig.ways import CLIENTS

pytestmark = pytest.mark.e2e

THEIRS = "https://tusd.tusdemo.net/files/"


def pattern(url: str) -> str:
    """Write a URL as the literal of a regular expression in JavaScript."""
    return re.sub(r"([./])", r"\\\1", url)


def aimed(bundle: Path, url: str) -> bytes:
    """Return the bundle of specs aimed at another server."""
    text = bundle.read_text()
    assert (text.count(f"'{THEIRS}'"), text.count(pattern(THEIRS))) == (2, 2), "the specification has changed"
    return text.replace(THEIRS, url).replace(pattern(THEIRS), pattern(url)).encode()


@pytest.mark.parametrize("client", CLIENTS)
def test_the_specification_passes(server: Server, browser: Browser, js: Path, client: str) -> None:
    bundle = js / "node_modules" / client / "dist" / "browser-test-bundle.js"
    browser.pages.made[f"{client}.js"] = aimed(bundle, f"{server.url}/files/")
    report = browser.visit(f"/pages/spec.html?{client}")
    assert report.get("specs") == [
        {"status": "passed", "description": description, "failed": []}
        for description in (
            "should upload to a real tus server",
            "should upload to a real tus server with creation-with-upload",
        )
    ], report
    assert report["outcome"] == "passed"
