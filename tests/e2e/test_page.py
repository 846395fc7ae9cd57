"""The page at `/` in a real browser: what a person does there, and that the bytes arrive.

Owns the scenarios. Must not know how the page is made: it presses what a person presses, and looks at what the
server has. The browser is Debian's Chromium, driven by playwright-core from npm.
"""

import filecmp
import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.server import Server

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
JS = Path(__file__).parent / "js"
SOURCE = ROOT / "web" / "page"
BUILT = ROOT / "src" / "tusplyr" / "web" / "page"
MIB = 1024 * 1024
SLOW = 4 * MIB  # bytes a second, where a test needs time to press something
TOKEN = "correct-horse-battery"
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    if CHROMIUM and (JS / "node_modules" / "playwright-core").is_dir():
        return
    missing = "chromium and `npm ci` in tests/e2e/js are needed (`make e2e` does the second)"
    pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "server") as running:
        yield running


def write(path: Path, length: int) -> str:
    """Write noise, always the same for one name; return its SHA-256."""
    path.write_bytes(random.Random(path.name).randbytes(length))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def begin(url: str, *steps: tuple[Any, ...], **options: object) -> subprocess.Popen[str]:
    """Let a browser do these steps on the page."""
    arguments = {"executable": CHROMIUM, "options": options, "steps": [("goto", url), *steps]}
    return subprocess.Popen(["node", "page.mjs", json.dumps(arguments)], cwd=JS, stdout=subprocess.PIPE, text=True)


def end(visit: subprocess.Popen[str], *, complaints: int = 0) -> list[Any]:
    """Wait for the last step, and return what the steps answered; the console must have been silent."""
    report = json.loads(visit.communicate(timeout=300)[0])
    assert report["failed"] is None, report
    assert len(report["complaints"]) == complaints, report["complaints"]
    return report["answers"]


def browse(url: str, *steps: tuple[Any, ...], complaints: int = 0, **options: object) -> list[Any]:
    """Do these steps on the page, and return what they answered."""
    return end(begin(url, *steps, **options), complaints=complaints)


def check_stored(server: Server, name: str, sha256: str) -> None:
    """The object is in the store, and is the file."""
    stored = server.store / "audio" / f"{sha256[:16]}{Path(name).suffix}"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == sha256


def test_an_upload_that_is_paused_cut_and_reloaded_ends_as_the_same_file(server, tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 40 * MIB)
    proof, download, wire = browse(
        f"{server.url}/",
        ("throttle", SLOW),
        ("choose", str(file)),
        ("until", ["take.wav", "sending", 10]),
        ("click", "Pause: take.wav"),
        ("until", ["take.wav", "paused"]),
        ("click", "Resume: take.wav"),
        ("until", ["take.wav", "sending", 25]),
        ("click", "Pull the cable"),
        ("until", ["take.wav", "pulled"]),
        ("click", "Plug it in again"),
        ("until", ["take.wav", "sending", 40]),
        ("reload",),
        ("until", ["take.wav", "left", 20]),
        ("throttle", None),
        ("choose", str(file)),
        ("until", ["take.wav", "stored", 100]),
        ("text", ".proof dd"),
        ("download", "Download the stored file: take.wav"),
        ("click", "Hide: take.wav"),
        ("text", ".wire li"),
    )
    assert proof[0] == sha256[:16]
    assert proof[1] == f"{sha256} the same as on your disk"
    assert proof[2].startswith(f"audio/{sha256[:16]}.wav")
    assert download == sha256
    check_stored(server, file.name, sha256)
    assert server.log.read_text().count("append from 0 of") == 1, "never again from the beginning"
    assert [line.split()[0] for line in wire] == ["PATCH", "HEAD"], "since the page was loaded, the newest first"


def test_everything_can_be_done_by_the_keyboard_and_is_told(server, tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 30 * MIB)
    focused, again, after = browse(
        f"{server.url}/",
        ("throttle", SLOW),
        ("tab", "Choose files or drop them anywhere"),
        ("pick", ["Enter", [str(file)]]),
        ("until", ["take.wav", "sending", 10]),
        ("tab", "Pull the cable"),
        ("press", "Space"),
        ("heard", "The cable is out."),
        ("press", "Space"),
        ("until", ["take.wav", "sending", 15]),
        ("tab", "Pause: take.wav"),
        ("press", "Enter"),
        ("heard", "take.wav: Paused"),
        ("focused",),
        ("throttle", None),
        ("press", "Enter"),
        ("until", ["take.wav", "stored", 100]),
        ("heard", "take.wav: Stored"),
        ("focused",),
        ("press", "Enter"),
        ("focused",),
    )
    assert focused == "Resume: take.wav"
    assert again == "Hide: take.wav", "the focus does not get lost with the button that had it"
    assert after == "Choose files or drop them anywhere"
    check_stored(server, file.name, sha256)


def test_what_was_left_can_be_discarded_and_frees_its_bytes(server, tmp_path):
    file = tmp_path / "take.wav"
    write(file, 30 * MIB)
    (after,) = browse(
        f"{server.url}/",
        ("throttle", SLOW),
        ("choose", str(file)),
        ("until", ["take.wav", "sending", 10]),
        ("reload",),
        ("until", ["take.wav", "left", 1]),
        ("click", "Discard: take.wav"),
        ("reload",),
        ("text", ".upload"),
    )
    assert after == []
    assert server.spooled() == []


def test_after_a_reload_no_share_is_told_before_the_server_has_said_it(server, tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 30 * MIB)
    rows, figures, heard = browse(
        f"{server.url}/",
        ("throttle", SLOW),
        ("choose", str(file)),
        ("until", ["take.wav", "sending", 10]),
        ("withhold", "HEAD"),
        ("reload",),
        ("choose", str(file)),
        ("until", ["take.wav", "waiting"]),
        ("text", ".upload h3"),
        ("text", ".upload .figures"),
        ("text", "#heard"),
        ("throttle", None),
        ("deliver",),
        ("until", ["take.wav", "stored", 100]),
    )
    assert rows == ["take.wav"], "it is not said to be interrupted as well"
    assert [text.strip() for text in figures] == ["30.0 MiB"]
    assert heard == [""]
    check_stored(server, file.name, sha256)
    assert server.log.read_text().count("append from 0 of") == 1


def test_with_a_token_the_page_asks_for_it_and_keeps_it_for_the_tab_alone(tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 3 * MIB)
    with Server(tmp_path / "server", AUTH_TOKEN=TOKEN) as server:
        refused, focused, wrong, right, download, kept = browse(
            f"{server.url}/",
            ("choose", str(file)),
            ("until", ["take.wav", "failed"]),
            ("text", ".upload .note"),
            ("focused",),
            ("fill", ["#token", "something-else"]),
            ("press", "Enter"),
            ("heard", "The server does not know this token."),
            ("text", "#token-told"),
            ("fill", ["#token", TOKEN]),
            ("click", "Use this token"),
            ("heard", "Token accepted."),
            ("text", "#token-told"),
            ("until", ["take.wav", "stored", 100]),  # what was refused needs no other button
            ("download", "Download the stored file: take.wav"),
            ("reload",),
            ("kept",),
            complaints=3,  # Chromium's own lines about the 401 of the upload, and the answers to the two questions
        )
        assert "token" in refused[0]
        assert focused == "Token of this server"
        assert wrong == ["The server does not know this token."]
        assert right == ["Token accepted."]
        assert download == sha256
        assert kept == [TOKEN, 0]
        check_stored(server, file.name, sha256)


def test_with_a_token_that_is_not_confirmed_an_upload_that_failed_can_be_tried_again(tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 3 * MIB)
    with Server(tmp_path / "server", AUTH_TOKEN=TOKEN) as server:
        browse(
            f"{server.url}/",
            ("choose", str(file)),
            ("until", ["take.wav", "failed"]),
            ("fill", ["#token", TOKEN]),
            ("click", "Try again: take.wav"),
            ("until", ["take.wav", "stored", 100]),
            complaints=1,
        )
        check_stored(server, file.name, sha256)


def test_with_a_token_the_page_shows_what_was_left_once_it_is_accepted(tmp_path):
    file = tmp_path / "take.wav"
    write(file, 30 * MIB)
    with Server(tmp_path / "server", AUTH_TOKEN=TOKEN) as server:
        (rows,) = browse(
            f"{server.url}/",
            ("fill", ["#token", TOKEN]),
            ("throttle", SLOW),
            ("choose", str(file)),
            ("until", ["take.wav", "sending", 10]),
            ("fill", ["#token", ""]),
            ("reload",),
            ("text", ".upload"),
            ("fill", ["#token", TOKEN]),
            ("press", "Enter"),
            ("until", ["take.wav", "left", 1]),
            complaints=1,
        )
        assert rows == []


def test_a_server_that_is_restarted_in_the_middle_is_waited_for(server, tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, 30 * MIB)
    visit = begin(
        f"{server.url}/",
        ("throttle", SLOW),
        ("choose", str(file)),
        ("until", ["take.wav", "sending", 20]),
        ("until", ["take.wav", "again"]),
        ("throttle", None),
        ("until", ["take.wav", "stored", 100]),
    )
    while not server.spooled() or server.spooled()[0].stat().st_size < 8 * MIB:
        assert visit.poll() is None
        time.sleep(0.05)
    server.kill()
    server.start()
    report = json.loads(visit.communicate(timeout=300)[0])
    assert report["failed"] is None
    check_stored(server, file.name, sha256)


def test_an_upload_that_cannot_be_published_yet_is_called_safe_and_not_stored(server, tmp_path):
    file = tmp_path / "take.wav"
    sha256 = write(file, MIB)
    key = server.store / "audio" / f"{sha256[:16]}.wav"
    key.parent.mkdir(exist_ok=True)
    key.write_bytes(b"other content under its key")
    visit = begin(
        f"{server.url}/",
        ("choose", str(file)),
        ("until", ["take.wav", "received", 100]),
        ("text", ".state"),
        ("until", ["take.wav", "stored", 100]),
    )
    while "is not published (attempt 2)" not in server.log.read_text():
        assert visit.poll() is None
        time.sleep(0.05)
    key.unlink()
    (said,) = end(visit)
    assert said == ["All bytes are safe; it is being published"]
    check_stored(server, file.name, sha256)


def test_several_files_an_empty_one_and_one_that_is_chosen_again(server, tmp_path):
    files = [tmp_path / name for name in ("one.wav", "two.wav", "nothing.wav")]
    digests = [write(file, length) for file, length in zip(files, (3 * MIB, MIB, 0), strict=True)]
    (rows,) = browse(
        f"{server.url}/",
        ("choose", [str(file) for file in files]),
        *(("until", [file.name, "stored", 100]) for file in files),
        ("text", ".upload .name"),
        ("choose", str(files[0])),
        ("until", ["one.wav", "stored", 100]),
        ("throttle", MIB),
        ("click", "Pull the cable"),
        ("choose", str(files[1])),
        ("until", ["two.wav", "pulled"]),
        ("choose", str(files[1])),
        ("see", "It was chosen again, and is here already."),
    )
    assert sorted(rows) == sorted(file.name for file in files)
    for file, sha256 in zip(files, digests, strict=True):
        check_stored(server, file.name, sha256)
    assert len(server.stored()) == len(files)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier_in_any_state(tmp_path, scheme):
    done, going = tmp_path / "done.wav", tmp_path / "going.wav"
    write(done, MIB)
    write(going, 30 * MIB)
    with Server(tmp_path / "server", AUTH_TOKEN=TOKEN) as server:
        found = browse(
            f"{server.url}/",
            ("barriers",),
            ("choose", str(done)),
            ("until", [done.name, "failed"]),
            ("barriers",),
            ("fill", ["#token", "something-else"]),
            ("press", "Enter"),
            ("heard", "The server does not know this token."),
            ("barriers",),
            ("fill", ["#token", TOKEN]),
            ("press", "Enter"),
            ("until", [done.name, "stored"]),
            ("throttle", SLOW),
            ("choose", str(going)),
            ("until", [going.name, "sending", 10]),
            ("barriers",),
            ("click", "Pull the cable"),
            ("until", [going.name, "pulled"]),
            ("barriers",),
            ("click", f"Pause: {going.name}"),
            ("until", [going.name, "paused"]),
            ("barriers",),
            ("reload",),
            ("until", [going.name, "left"]),
            ("barriers",),
            colorScheme=scheme,
            complaints=3,
        )
    assert found == [[]] * 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(server, tmp_path, scheme):
    file = tmp_path / f"{'a-very-long-name-without-a-blank' * 4}.wav"
    write(file, MIB)
    (overflow,) = browse(
        f"{server.url}/",
        ("choose", str(file)),
        ("until", [file.name, "stored"]),
        ("overflow",),
        viewport={"width": 320, "height": 640},
        colorScheme=scheme,
        reducedMotion="reduce",
    )
    assert overflow == 0


def test_the_picture_of_the_readme_can_be_taken(server, tmp_path):
    """`make picture` keeps it."""
    done, going, left = (tmp_path / name for name in ("field recording.wav", "second take.flac", "sketches.m4a"))
    for file, length in ((done, 20 * MIB), (going, 44 * MIB), (left, 30 * MIB)):
        write(file, length)
    path = Path(os.environ.get("PICTURE") or tmp_path / "page.png").absolute()
    browse(
        f"{server.url}/",
        ("throttle", 8 * MIB),
        ("choose", str(left)),
        ("until", [left.name, "sending", 30]),
        ("reload",),
        ("until", [left.name, "left", 15]),
        ("choose", str(done)),
        ("until", [done.name, "sending", 45]),
        ("click", "Pull the cable"),
        ("click", "Plug it in again"),
        ("until", [done.name, "stored"]),
        ("throttle", SLOW),
        ("choose", str(going)),
        ("until", [going.name, "sending", 22]),
        ("click", "Pull the cable"),
        ("click", "Plug it in again"),
        ("until", [going.name, "sending", 35]),
        ("click", f"Pause: {going.name}"),
        ("click", f"Resume: {going.name}"),
        ("until", [going.name, "sending", 62]),
        ("picture", str(path)),
        viewport={"width": 960, "height": 600},
        deviceScaleFactor=2,
        colorScheme="light",
    )
    assert path.stat().st_size > 10_000


def test_the_page_in_the_package_is_what_its_source_builds(tmp_path):
    if not (SOURCE / "node_modules" / "esbuild").is_dir():
        missing = "`npm ci` in web/page is needed (`make e2e` does it)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    subprocess.run(["node", "build.mjs", str(tmp_path / "page")], cwd=SOURCE, check=True)
    names = sorted(path.name for path in BUILT.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "page").iterdir())
    assert filecmp.cmpfiles(BUILT, tmp_path / "page", names, shallow=False) == (names, [], []), "run: make page"
