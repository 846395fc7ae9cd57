"""What the tests with real clients share: a server, pages for a browser, and no excuse for a client that is missing."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.driver import Browser
from rig.need import need
from rig.pages import Pages
from rig.server import Server

JS = Path(__file__).parent / "js"
JAVA = Path(__file__).parent / "java"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def js() -> Path:
    """The folder of the drivers in JavaScript, their packages installed."""
    installed = JS / "node_modules" / "tus-js-client-next"
    need(installed.is_dir(), "packages are missing: run `npm ci` in tests/e2e/js (`make e2e` does)")
    return JS


@pytest.fixture(scope="session")
def java() -> tuple[str | Path, ...]:
    """The command line of the driver in Java, as far as the arguments of a test."""
    need(shutil.which("javac"), "a JDK is missing: apt-get install default-jdk-headless")
    need((JAVA / "lib").is_dir(), "tus-java-client is missing: run `make tests/e2e/java/lib` (`make e2e` does)")
    return "java", "-cp", JAVA / "lib" / "*", JAVA / "Send.java"


@pytest.fixture(scope="session")
def pages(js: Path) -> Iterator[Pages]:
    """The pages of tests/e2e/js/pages, and what they import from packages bundled as an application's build would."""
    with Pages(js) as serving:
        for name in ("uppy", "fetch"):
            bundle = ["node_modules/.bin/esbuild", f"pages/{name}.mjs", "--bundle", "--format=esm", "--log-level=error"]
            serving.made[f"{name}.js"] = subprocess.run(bundle, cwd=js, stdout=subprocess.PIPE, check=True).stdout
        yield serving


@pytest.fixture(scope="session")
def browser(js: Path, pages: Pages) -> Iterator[Browser]:
    """One headless Chromium for all tests; each visit has a profile of its own."""
    chromium = shutil.which("chromium")
    need(chromium, "Chromium is missing: apt-get install chromium")
    with Browser(js / "browser.mjs", str(chromium), pages) as running:
        yield running
