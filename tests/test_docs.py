"""The documents say what is there now: generated pages are fresh, and everything they name exists, and the reverse."""

import inspect
import os
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import tusplyr
from rig.server import Server
from rig.table import CONCAT_TABLE, COPY_TABLE, EMPTY_TABLE, GRAFT_TABLE
from rig.table import TABLE as CRASH_TABLE
from tusplyr import ports
from tusplyr.cli import commands
from tusplyr.core.errors import TusplyrError
from tusplyr.core.media import AUDIO, IMAGES
from tusplyr.dialects import tus1
from tusplyr.engine.tally import Tally
from tusplyr.ledger.revisions import WrongRevision
from tusplyr.settings import TABLE
from tusplyr.settings.reference import reference
from tusplyr.web.ops import TallyCollector
from tusplyr.web.pool import Pool

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "tusplyr"
README = ROOT / "README.md"
ADRS = sorted((DOCS / "adr").glob("*.md"))
PAGES = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md")), *ADRS]

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    titles = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def errors(root: type[TusplyrError] = TusplyrError) -> Iterator[type[TusplyrError]]:
    yield root
    for child in root.__subclasses__():
        yield from errors(child)


def leaves(group: click.Group, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}"


def test_settings_page_is_up_to_date():
    assert (DOCS / "settings.md").read_text() == reference(), "run: tusplyr settings-reference > docs/settings.md"


def test_settings_page_names_every_setting_in_each_of_its_spellings():
    page = reference()
    for row in TABLE:
        assert f"`{row.flag}` · `{row.variable}` · `{row.name}`" in page
        assert row.doc in page
        assert row.doc.endswith(".")
        assert row.doc.count(". ") == 0, "one sentence"


@each_page
def test_every_relative_link_leads_somewhere(page):
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_variable_that_is_named_is_a_setting(page):
    known = {spelling for row in TABLE for spelling in (row.variable, f"{row.variable}_FILE")} | {"TUSPLYR_CONFIG"}
    named = set(re.findall(r"TUSPLYR_[A-Z0-9]+(?:_[A-Z0-9]+)*", page.read_text()))
    assert named <= known


@each_page
def test_every_source_file_that_is_named_exists(page):
    for name in re.findall(r"`(?:src/tusplyr/)?((?:[a-z0-9]+/)?[a-z0-9_]+\.py)`", page.read_text()):
        assert (SOURCE / name).is_file(), name


@each_page
def test_every_make_target_that_is_named_exists(page):
    assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets()


@each_page
def test_every_command_that_is_named_exists(page):
    known = {*leaves(commands, "tusplyr"), "tusplyr uploads", "tusplyr settings-reference"}
    named = re.compile(r"(?:`|^    |&& |/)(tusplyr [a-z-]+)(?: (list|show|retry|terminate))?", re.MULTILINE)
    for command in named.findall(page.read_text()):
        assert " ".join(filter(None, command)) in known, command


def test_readme_shows_the_two_commands_and_makefile_has_them():
    text = README.read_text()
    assert "    make serve " in text
    assert "    make test " in text
    assert {"serve", "test"} <= targets()


def test_readme_names_every_command():
    table = set(re.findall(r"^\| `(tusplyr [a-z ]*[a-z])[^`]*` \|", README.read_text(), re.MULTILINE))
    assert table == set(leaves(commands, "tusplyr"))


def test_readme_names_every_extension_that_decides_a_folder():
    for folder, table in (("audio", AUDIO), ("images", IMAGES)):
        row = re.search(rf"^\| `{folder}/` \| (.+) \|$", README.read_text(), re.MULTILINE)
        assert row
        assert set(row[1].split()) == set(table)


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "sha256sum"))), reason="needs curl and sha256sum")
def test_the_session_in_the_readme_works_as_printed(tmp_path):
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    with Server(tmp_path) as server:
        script = "\n".join(blocks).replace("http://127.0.0.1:8000", server.url)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=dict(os.environ)
        )
    *_, source, stored = done.stdout.splitlines()
    assert source.endswith("  song.wav")
    assert stored == f"{source[:64]}  data/store/audio/{source[:16]}.wav"
    cut = re.search(r"^upload-offset: (\d+)", done.stdout, re.MULTILINE)
    assert cut
    assert 0 < int(cut[1]) < 3_000_000


def test_architecture_names_every_room_and_every_file_in_it():
    page = (DOCS / "architecture.md").read_text()
    table = dict(re.findall(r"^\| `([a-z_]+)` \|(?:[^|]*\|){2} (.+) \|$", page, re.MULTILINE))
    rooms = {module.name for module in pkgutil.iter_modules([str(SOURCE)])} - {"__main__"}
    assert set(table) == rooms
    for room in rooms:
        inside = {module.name for module in pkgutil.iter_modules([str(SOURCE / room)])} or {room}
        assert set(re.findall(r"`(\w+)`", table[room])) == inside, room


def test_architecture_names_every_port():
    page = (DOCS / "architecture.md").read_text()
    table = set(re.findall(r"^\| `([A-Z]\w+)` \| (?:async|blocking) \|", page, re.MULTILINE))
    own = {name for name, kind in inspect.getmembers(ports, inspect.isclass) if kind.__module__ == ports.__name__}
    assert table == own


def test_architecture_has_every_row_of_the_crash_table_that_is_tested():
    page = (DOCS / "architecture.md").read_text().replace("`", "")
    for row in [*CRASH_TABLE, *EMPTY_TABLE, *CONCAT_TABLE, *GRAFT_TABLE]:
        assert f"| {row.stage} | {row.after} |" in page
    for row in COPY_TABLE:
        assert f"| {row.stage}, other volume | {row.after} |" in page


def test_architecture_lists_every_decision():
    listed = re.findall(r"^\| \[(\d{4})\]\(adr/(\1-[a-z0-9-]+\.md)\) \|", prose(DOCS / "architecture.md"), re.MULTILINE)
    assert [name for _, name in listed] == [page.name for page in ADRS]


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.stem)
def test_every_decision_has_context_choice_and_price_on_one_page(page):
    text = page.read_text()
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Choice", "Price"]
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert len(text.splitlines()) <= 60


def test_protocol_lists_every_error_code_with_its_status():
    for module in pkgutil.walk_packages([str(SOURCE)], f"{tusplyr.__name__}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert WrongRevision in set(errors()), "errors outside core.errors are found too"
    table = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", (DOCS / "protocol.md").read_text(), re.MULTILINE))
    ours = {error for error in errors() if error.__module__.startswith("tusplyr.")}
    assert table == {error.code: str(error.status) for error in ours}


def test_protocol_names_what_is_advertised_and_readme_what_is_not():
    page = (DOCS / "protocol.md").read_text()
    for extension in tus1.EXTENSIONS:
        assert f"`{extension}`" in page
    missing = README.read_text().partition("**Not built yet:**")[2]
    for extension in ("expiration", "checksum", "concatenation", "creation-defer-length"):
        assert (extension in missing) != (extension in tus1.EXTENSIONS)


def test_operations_names_every_metric_and_no_other():
    sample = [sample.name for metric in TallyCollector(Tally(), Pool()).collect() for sample in metric.samples]
    page = (DOCS / "operations.md").read_text()
    assert re.findall(r"^\| `(tusplyr_\w+)` \|", page, re.MULTILINE) == sample


def test_clients_says_what_to_do_about_every_status_that_a_client_may_retry():
    rows = re.findall(r"^\| (\d{3}[^|]*)\|", (DOCS / "clients.md").read_text(), re.MULTILINE)
    told = {int(status) for row in rows for status in re.findall(r"\d{3}", row)}
    unforeseen = {405, 500}  # the client itself is wrong, or we are
    assert {error.status for error in errors()} - unforeseen <= told
