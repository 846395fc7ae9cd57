"""The commands, each as a real process: what they print, where, and how they exit."""

import asyncio
import hashlib
import http.client
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from alembic.command import upgrade
from sqlalchemy import create_engine

import tusplyr
from rig.server import free_port
from tusplyr.core.media import media_of
from tusplyr.core.model import Reason, Status, Upload
from tusplyr.ledger.migrate import configuration, migrate
from tusplyr.ledger.revisions import head
from tusplyr.ledger.sql import SqlLedger
from tusplyr.settings import TABLE

LIMIT = 60  # seconds until a command that hangs fails its test
COMMANDS = ("serve", "migrate", "sweep", "verify", "uploads list", "uploads show", "uploads retry", "uploads terminate")
CONTENT = b"RIFF" + bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = f"audio/{SHA256[:16]}.wav"
ESCAPE = "\x1b"


def environ(**variables):
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    # The source may or may not be installed; the processes under test import what this one does.
    return mine | {"PYTHONPATH": str(Path(tusplyr.__file__).parents[1])} | variables


def run(cwd, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "tusplyr", *arguments],
        cwd=cwd, env=environ(**variables), capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def run_on_terminal(cwd, *arguments):
    """Return the exit code and everything that a person would see."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tusplyr", *arguments],
        cwd=cwd, env=environ(TERM="xterm", COLUMNS="160"), stdin=there, stdout=there, stderr=there,
    )  # fmt: skip
    os.close(there)
    seen = b""
    with suppress(OSError):  # Linux ends a terminal whose other side is closed with EIO
        while piece := os.read(here, 65_536):
            seen += piece
    os.close(here)
    return process.wait(LIMIT), seen.decode()


def assert_one_line_error(done, code, *words):
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@contextmanager
def server(cwd, *python_flags, **variables):
    """Yield the port of a running server whose data is in `cwd`/data and whose log is `cwd`/log."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = [sys.executable, *python_flags, "-m", "tusplyr", "serve", "--port", str(port)]
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(line, cwd=cwd, env=environ(**variables), stdout=log, stderr=log)
    try:
        wait_until_live(process, port, cwd / "log")
        yield port
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT)
    finally:
        process.kill()
        process.wait()


def wait_until_live(process, port, log):
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if request(port, "GET", "/health/live")[0] == 200:
                return
        time.sleep(0.05)
    pytest.fail(log.read_text()[-3000:])


def request(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Tus-Resumable": "1.0.0"}
        connection.request(method, path, body, named)
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.headers
    finally:
        connection.close()


def create(port, length, body=None):
    """Create an upload named tone.wav and return its id."""
    kind = {"Content_Type": "application/offset+octet-stream"} if body else {}
    status, headers = request(
        port, "POST", "/files", body, Upload_Length=str(length), Upload_Metadata="filename dG9uZS53YXY=", **kind
    )
    assert status == 201
    return headers["Location"].rpartition("/")[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The directory of a running server with one stored upload, for tests that leave that one alone."""
    folder = tmp_path_factory.mktemp("running")
    with server(folder) as port:
        create(port, len(CONTENT), CONTENT)
        (folder / "port").write_text(str(port))
        yield folder


@pytest.fixture
def ledger(tmp_path):
    """A database with three uploads, the newest with hostile metadata."""
    (tmp_path / "data").mkdir()
    migrate(tmp_path / "data/tusplyr.db")

    async def fill():
        sql = await SqlLedger.open(tmp_path / "data/tusplyr.db")
        for number in range(3):
            await sql.create(
                Upload(
                    id=f"{number:032x}",
                    length=1000 + number,
                    media=media_of("a.wav"),
                    created_at=1_000_000.0 + number,
                    updated_at=1_000_000.0 + number,
                    metadata=f"filename {ESCAPE}[31m\r\n".encode() if number == 2 else None,
                )
            )
        first = await sql.get(f"{0:032x}")
        await sql.move(first, Status.GONE, reason=Reason.TERMINATED)
        await sql.close()

    asyncio.run(fill())
    return tmp_path


def test_bare_command_prints_help_that_names_every_command_and_the_data(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("serve", "migrate", "sweep", "uploads", "verify", "TUSPLYR_DATA_DIR", "./data", "tusplyr.db"):
        assert word in done.stdout
    assert "settings-reference" not in done.stdout


def test_version_is_printed(tmp_path):
    assert run(tmp_path, "--version").stdout == f"tusplyr {tusplyr.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_says_where_the_data_is(tmp_path, command):
    done = run(tmp_path, *command.split(), "--help")
    assert done.returncode == 0
    assert "--data-dir" in done.stdout
    assert "TUSPLYR_DATA_DIR" in done.stdout


def test_help_of_list_says_what_every_status_is():
    text = " ".join(run(Path.cwd(), "uploads", "list", "--help").stdout.split())
    for status in Status:
        assert f"{status.value}: " in text
    for reason in Reason:
        assert reason.value in text


def test_help_of_serve_shows_every_flag_with_its_variable_and_default(tmp_path):
    text = " ".join(run(tmp_path, "serve", "--help").stdout.split())
    for row in TABLE:
        assert f"{row.flag} " in text
        assert f"[{row.variable}{f', default {row.shown_default}' if row.shown_default else ''}]" in text


def test_settings_reference_prints_the_page_of_the_docs(tmp_path):
    page = Path(__file__).parents[1] / "docs/settings.md"
    assert run(tmp_path, "settings-reference").stdout == page.read_text()


@pytest.mark.parametrize("command", [("serve",), ("uploads", "list")])
def test_wrong_settings_are_listed_and_nothing_is_done(tmp_path, command):
    done = run(tmp_path, *command, TUSPLYR_PORT="eighty", TUSPLYR_DATADIR="x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: The settings cannot be used:",
        "  TUSPLYR_DATADIR is not a variable of tusplyr; did you mean TUSPLYR_DATA_DIR?",
        "  PORT (TUSPLYR_PORT) is 'eighty'; it must be a whole number from 0 to 65535.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_serve_refuses_to_listen_beyond_loopback_without_a_token(tmp_path):
    done = run(tmp_path, "serve", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "HOST (--host) is 0.0.0.0, which other machines can reach" in done.stderr
    assert not (tmp_path / "data").exists()


def test_commands_that_do_not_listen_do_not_ask_for_a_token(tmp_path):
    assert run(tmp_path, "migrate", TUSPLYR_HOST="0.0.0.0").returncode == 0


def test_unknown_flag_is_a_wrong_command_line(tmp_path):
    done = run(tmp_path, "serve", "--prot", "1")
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.parametrize("command", ["sweep", "verify", "uploads list", "uploads show 00", "uploads terminate 00"])
def test_without_a_database_the_command_says_so_and_makes_none(tmp_path, command):
    assert_one_line_error(run(tmp_path, *command.split()), 1, str(tmp_path / "data/tusplyr.db"), "--data-dir")
    assert list(tmp_path.iterdir()) == []


def test_migrate_makes_the_database_and_can_be_repeated(tmp_path):
    database = tmp_path / "deep/data/tusplyr.db"
    for said in (f"was made, at revision {head()}.", f"is at revision {head()} already."):
        done = run(tmp_path, "migrate", "--data-dir", "deep/data")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{database} {said}\n", "")
    assert run(tmp_path, "uploads", "list", TUSPLYR_DATA_DIR="deep/data").stdout == ""


def test_no_module_of_the_folder_where_a_server_is_started_is_run(tmp_path):
    script = Path(sysconfig.get_path("scripts"), "tusplyr")
    for name in ("queue", "random", "tusplyr"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}-was-run', 'w')\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUSPLYR_")}
    line = [script, "serve", "--port", str(free_port()), "--data-dir", "data"]
    with subprocess.Popen(line, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("listening on" in said for said in process.stderr)
        process.terminate()
    assert list(tmp_path.glob("*-was-run")) == []


def test_migrate_refuses_while_a_server_runs(running):
    said = f"A server is running on {running / 'data'}; stop it, make a backup, then migrate."
    assert_one_line_error(run(running, "migrate"), 1, said)


def test_migrate_is_not_talked_into_it_by_a_lock_that_is_not_held_or_not_the_lock(running):
    with (running / "data/lock").open() as lock, Path(os.devnull).open() as other:
        for file in (lock, other):
            line = [sys.executable, "-m", "tusplyr", "migrate", "--lock", str(file.fileno())]
            done = subprocess.run(
                line, cwd=running, env=environ(), pass_fds=[file.fileno()], capture_output=True, text=True, check=False
            )
            assert_one_line_error(done, 1, "A server is running on")


def old(folder):
    """Make a database as the first version has left it."""
    (folder / "data").mkdir()
    engine = create_engine(f"sqlite:///{folder}/data/tusplyr.db")
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        upgrade(config, "0001")
    engine.dispose()


def test_migrate_says_from_what_to_what(tmp_path):
    old(tmp_path)
    hint = "it is brought there when the new `tusplyr serve` starts (make a backup first), or by `tusplyr migrate`"
    assert_one_line_error(run(tmp_path, "uploads", "list"), 1, "is at revision 0001", hint)
    assert run(tmp_path, "migrate").stdout.endswith(f"tusplyr.db was brought from revision 0001 to {head()}.\n")


def test_serve_says_in_its_log_what_it_brought_a_database_to(tmp_path):
    old(tmp_path)
    with server(tmp_path):
        assert f"database brought from revision 0001 to {head()}\n" in (tmp_path / "log").read_text()
    with server(tmp_path):
        assert "database brought" not in (tmp_path / "log").read_text()


def test_serve_says_nothing_of_a_database_that_it_made(running):
    assert "database brought" not in (running / "log").read_text()


@pytest.mark.parametrize("command", ["migrate", "uploads list", "uploads terminate 00", "sweep", "verify", "serve"])
def test_database_of_a_newer_version_is_refused_in_one_line(ledger, command):
    with sqlite3.connect(ledger / "data/tusplyr.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert_one_line_error(run(ledger, *command.split(), TUSPLYR_PORT="0"), 1, "9999", "newer")


def test_file_that_is_no_database_is_refused_in_one_line(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tusplyr.db").write_bytes(b"not a database " * 100)
    assert_one_line_error(run(tmp_path, "uploads", "list"), 1, "not a database")


def test_a_command_that_needs_no_bucket_does_not_look_for_it(ledger):
    bucket = {"TUSPLYR_STORE": "s3", "TUSPLYR_S3_BUCKET": "first", "AWS_PROFILE": "nobody"}
    done = run(ledger, "uploads", "terminate", "missing", **bucket)
    assert (done.returncode, done.stderr) == (1, "Error: There is no upload missing.\n")


def test_list_is_a_tabbed_line_for_each_upload_newest_first(ledger):
    done = run(ledger, "uploads", "list")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [f"{number:032x}" for number in (2, 1, 0)]
    assert rows[0] == [f"{2:032x}", "whole", "receiving", "0", "1002", "1970-01-12T13:46:42Z", "-", "0", "-"]


def test_list_is_narrowed_by_status_and_limit(ledger):
    assert run(ledger, "uploads", "list", "--status", "gone").stdout.startswith(f"{0:032x}\twhole\tgone\t")
    assert run(ledger, "uploads", "list", "--limit", "1").stdout.startswith(f"{2:032x}")
    assert run(ledger, "uploads", "list", "--limit", "1").stdout.count("\n") == 1
    assert run(ledger, "uploads", "list", "--status", "stored").stdout == ""
    assert run(ledger, "uploads", "list", "--status", "lost").returncode == 2


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_list_says_when_there_are_more(ledger, form):
    done = run(ledger, "uploads", "list", "--limit", "2", *form)
    assert (done.returncode, done.stderr) == (0, "2 shown; more with --limit\n")
    assert "more with" not in done.stdout
    assert done.stdout.count(f"{0:030x}") == 2
    assert run(ledger, "uploads", "list", "--limit", "3", *form).stderr == ""


def test_list_as_json_is_one_array(ledger):
    rows = json.loads(run(ledger, "uploads", "list", "--json").stdout)
    assert [row["id"] for row in rows] == [f"{number:032x}" for number in (2, 1, 0)]
    assert rows[2]["reason"] == "terminated"
    assert json.loads(run(ledger, "uploads", "list", "--json", "--status", "stored").stdout) == []


def test_list_on_a_terminal_is_a_table(ledger):
    code, seen = run_on_terminal(ledger, "uploads", "list")
    assert code == 0
    header = seen.splitlines()[0]
    for column in ("id", "kind", "status", "offset", "length", "updated_at", "key"):
        assert column in header
    assert f"{2:032x}" in seen


def test_show_prints_every_fact_and_nothing_raw(ledger):
    done = run(ledger, "uploads", "show", f"{2:032x}")
    assert done.returncode == 0
    assert re.search(r"^metadata +filename \\x1b\[31m\\r\\n$", done.stdout, re.MULTILINE)
    assert ESCAPE not in done.stdout
    facts = json.loads(run(ledger, "uploads", "show", f"{2:032x}", "--json").stdout)
    assert (facts["length"], facts["media_type"], facts["sha256"]) == (1002, "audio/wav", None)
    assert facts["metadata"] == f"filename {ESCAPE}[31m\r\n"
    assert facts["created_at"] == "1970-01-12T13:46:42Z"


def test_show_of_an_unknown_upload_fails(ledger):
    assert_one_line_error(run(ledger, "uploads", "show", f"nope{ESCAPE}[31m"), 1, "There is no upload nope\\x1b[31m.")


def test_terminate_ends_what_is_there_and_names_what_is_not(running):
    unfinished = create(int((running / "port").read_text()), len(CONTENT) + 1, CONTENT)
    done = run(running, "uploads", "terminate", "missing", unfinished)
    assert (done.returncode, done.stdout) == (1, f"{unfinished} terminated\n")
    assert done.stderr == "Error: There is no upload missing.\n"
    assert json.loads(run(running, "uploads", "show", unfinished, "--json").stdout)["reason"] == "terminated"
    assert run(running, "uploads", "terminate", unfinished).returncode == 1


@pytest.fixture
def stuck(ledger):
    """The same database with two uploads more that wait to be published: one that is stuck, one that is not."""

    async def fill():
        sql = await SqlLedger.open(ledger / "data/tusplyr.db")
        for number, attempts in ((8, 3), (9, 10)):
            upload = Upload(
                id=f"{number:032x}", length=5, offset=5, media=media_of("a.wav"), created_at=1_000_000.0 + number,
                updated_at=1_000_000.0, sha256=SHA256, status=Status.RECEIVED, attempts=attempts, due_at=1e11,
                error="the bucket is away",
            )  # fmt: skip
            await sql.create(upload)
        await sql.close()

    asyncio.run(fill())
    return ledger


def test_list_says_what_is_stuck_and_can_be_narrowed_to_it(stuck):
    lines = [line.split("\t")[0:3:2] for line in run(stuck, "uploads", "list").stdout.splitlines()]
    assert lines[:2] == [[f"{9:032x}", "received (stuck)"], [f"{8:032x}", "received"]]
    failed = [line.split("\t")[-2:] for line in run(stuck, "uploads", "list").stdout.splitlines()]
    assert failed == [["10", "the bucket is away"], ["3", "the bucket is away"], *[["0", "-"]] * 3]
    assert "the bucket is away" in " ".join(run_on_terminal(stuck, "uploads", "list")[1].split())
    assert [line[:1] for line in lines[2:]] == [[f"{number:032x}"] for number in (2, 1, 0)]
    (row,) = json.loads(run(stuck, "uploads", "list", "--stuck", "--json").stdout)
    assert (row["id"], row["status"], row["stuck"], row["attempts"]) == (f"{9:032x}", "received", True, 10)
    assert run(stuck, "uploads", "list", "--stuck", "--status", "receiving").stdout == ""


def due(folder):
    rows = json.loads(run(folder, "uploads", "list", "--status", "received", "--json").stdout)
    return {int(row["id"], 16): row["due_at"] < "2100" for row in rows}


def test_retry_makes_uploads_due_and_names_those_that_do_not_wait(stuck):
    assert due(stuck) == {8: False, 9: False}
    done = run(stuck, "uploads", "retry", f"{9:032x}", f"{1:032x}", "nothing")
    assert done.returncode == 1
    assert done.stdout == f"{9:032x} is due now\n"
    assert done.stderr.splitlines() == [
        f"Error: {1:032x} is receiving: there is nothing to retry.",
        "Error: There is no upload nothing.",
    ]
    assert due(stuck) == {8: False, 9: True}


def test_retry_of_all_is_all_that_wait(stuck):
    done = run(stuck, "uploads", "retry", "--all")
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, [f"{n:032x} is due now" for n in (8, 9)])
    assert due(stuck) == {8: True, 9: True}


def test_retry_wants_ids_or_all_and_says_when_nothing_waits(ledger):
    assert run(ledger, "uploads", "retry").returncode == 2
    assert run(ledger, "uploads", "retry", "--all", f"{1:032x}").returncode == 2
    done = run(ledger, "uploads", "retry", "--all")
    assert (done.returncode, done.stdout) == (0, "Nothing waits to be published.\n")


@pytest.mark.parametrize(
    "raised",
    ["ModuleNotFoundError(\"No module named 'boto3'\", name='boto3')", "ImportError('cannot import name')"],
    ids=["not there", "broken"],
)
def test_a_store_whose_client_cannot_be_imported_is_told_in_one_line(tmp_path, raised):
    (tmp_path / "boto3.py").write_text(f"raise {raised}\n")
    own = str(Path(tusplyr.__file__).parents[1])
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{own}", "TUSPLYR_STORE": "s3", "TUSPLYR_S3_BUCKET": "bucket"}
    done = run(tmp_path, "serve", "--port", "0", **variables)
    assert_one_line_error(done, 1, "STORE is s3", "needs boto3", "pip install")
    assert_one_line_error(run(tmp_path, "verify", **variables), 1, "STORE is s3", "needs boto3")
    done = run(tmp_path, "doctor", **variables)
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  S3: STORE is s3, which needs boto3" in done.stdout


def test_verify_names_every_object_and_is_content_with_a_whole_store(running):
    done = run(running, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{KEY}: ok\n1 object checked, 0 wrong\n"


def test_verify_of_a_data_directory_that_was_never_served_finds_nothing(tmp_path):
    assert run(tmp_path, "migrate").returncode == 0
    done = run(tmp_path, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 objects checked, 0 wrong\n", "")


def test_verify_names_a_file_that_lies_about_in_the_store(running):
    (running / "data/store/stray").write_bytes(b"nobody knows me")
    try:
        done = run(running, "verify")
    finally:
        (running / "data/store/stray").unlink()
    assert (done.returncode, done.stderr) == (1, "2 objects checked, 1 wrong\n")
    assert re.search(r"^stray: (?!ok).+$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("limit", ["0", "99999999999999999999"])
def test_a_limit_that_no_list_has_is_a_wrong_command_line(ledger, limit):
    done = run(ledger, "uploads", "list", "--limit", limit)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_serve_says_of_a_host_that_it_is_not_known(tmp_path):
    done = run(tmp_path, "serve", "--host", "no.such.host.invalid", "--port", "0", "--allow-anonymous")
    assert_one_line_error(done, 1, "no.such.host.invalid", "not known")


def test_verify_on_a_terminal_shows_a_bar(running):
    code, seen = run_on_terminal(running, "verify")
    assert code == 0
    assert "━" in seen
    assert "1 object checked, 0 wrong" in seen
    assert KEY not in seen


def test_verify_fails_on_what_is_damaged_or_missing_and_names_it(tmp_path):
    with server(tmp_path) as port:
        create(port, len(CONTENT), CONTENT)
    stored = tmp_path / "data/store" / KEY
    damaged = stored.read_bytes().replace(b"RIFF", b"RAFF")
    stored.unlink()
    stored.write_bytes(damaged)
    done = run(tmp_path, "verify")
    assert (done.returncode, done.stderr) == (1, "1 object checked, 1 wrong\n")
    assert re.fullmatch(rf"{KEY}: (?!ok).+\n", done.stdout)
    code, seen = run_on_terminal(tmp_path, "verify")
    assert code == 1
    assert f"{KEY}: " in seen
    stored.unlink()
    done = run(tmp_path, "verify")
    assert (done.returncode, done.stderr) == (1, "1 object checked, 1 wrong\n")
    assert re.fullmatch(rf"{KEY}: (?!ok).+\n", done.stdout)


def test_sweep_says_what_it_did(running):
    done = run(running, "sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nothing to sweep\n"
    left = running / "data/spool" / ("0" * 32)
    left.touch()
    os.utime(left, (1, 1))
    assert run(running, "sweep").stdout == "spool files removed: 1\n"


def test_the_sweep_of_a_start_tells_what_it_did_and_no_more(ledger):
    (ledger / "data/spool").mkdir()
    (ledger / "data/spool" / ("f" * 32)).touch()
    with server(ledger):
        pass
    (line,) = [line for line in (ledger / "log").read_text().splitlines() if "swept" in line]
    assert line.endswith("swept; uploads expired: 2, spool files removed: 1")


def test_serve_names_a_port_in_use_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(tmp_path, "serve", "--port", port)
    assert_one_line_error(done, 1)
    assert done.stderr == f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use.\n"


def test_serve_names_a_data_directory_that_cannot_be_written_in_one_line(tmp_path):
    (tmp_path / "data").write_text("a file, not a directory")
    assert_one_line_error(run(tmp_path, "serve", "--port", "0"), 1, str(tmp_path / "data"))


def test_second_server_on_the_same_data_refuses_in_one_line(running):
    assert_one_line_error(run(running, "serve", "--port", "0"), 1, str(running / "data"))


def modes(data):
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in data.glob("tusplyr.db*")}


def test_the_files_of_the_database_are_their_owners_alone_and_made_so_where_they_are_not(tmp_path):
    files = ("tusplyr.db", "tusplyr.db-wal", "tusplyr.db-shm")
    with server(tmp_path) as port:
        create(port, 5)
        assert modes(tmp_path / "data") == dict.fromkeys(files, 0o600)
    with closing(sqlite3.connect(tmp_path / "data/tusplyr.db")) as connection:
        connection.execute("SELECT * FROM uploads").fetchall()  # makes the other two
        for name in files:
            (tmp_path / "data" / name).chmod(0o664)
        with server(tmp_path) as port:
            create(port, 5)
            assert modes(tmp_path / "data") == dict.fromkeys(files, 0o600)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
@pytest.mark.parametrize("recipe", ["setfacl -m u:65534:x data", "chgrp 65534 data && chmod 710 data"])
def test_a_web_server_can_be_let_read_the_store_and_nothing_else(recipe):
    """The recipes of operations.md, with numbers for names."""
    if not shutil.which(recipe.partition(" ")[0]):
        pytest.skip("needs setfacl")
    with tempfile.TemporaryDirectory() as place:  # the directory of pytest is closed to others
        folder = Path(place)
        folder.chmod(0o755)
        with server(folder) as port:
            create(port, len(CONTENT), CONTENT)
            create(port, len(CONTENT) + 1, CONTENT)
            subprocess.run(["sh", "-c", recipe], cwd=folder, check=True)

            def read(*command):
                line = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command]
                return subprocess.run(line, cwd=folder, capture_output=True, check=False)

            assert read("cat", f"data/store/{KEY}").stdout == CONTENT
            create(port, len(CONTENT), CONTENT[::-1])
            assert len(read("find", "data/store", "-type", "f", "-readable").stdout.splitlines()) == 2
            for other in ("ls data", "ls data/spool", "cat data/tusplyr.db", "cat data/tusplyr.db-wal"):
                assert read(*other.split()).returncode, other


def test_server_does_not_import_what_only_commands_need(tmp_path):
    run(tmp_path, "migrate")
    with server(tmp_path, "-X", "importtime") as port:
        create(port, len(CONTENT), CONTENT)
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", (tmp_path / "log").read_text(), re.MULTILINE))
    assert {"tusplyr.app", "litestar"} <= imported
    assert not {name for name in imported if name.partition(".")[0] in {"rich", "alembic", "boto3", "botocore"}}
