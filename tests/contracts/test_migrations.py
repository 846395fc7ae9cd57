"""The revisions: what ships, what a start refuses, what a migration does."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import NullPool

import tusplyr
from tusplyr.core.errors import LedgerDown
from tusplyr.core.media import media_of
from tusplyr.core.model import Upload
from tusplyr.ledger.committer import connect
from tusplyr.ledger.listing import list_uploads
from tusplyr.ledger.migrate import configuration, migrate
from tusplyr.ledger.revisions import head, known, migrations, revision
from tusplyr.ledger.sql import SqlLedger, WrongRevision
from tusplyr.ledger.statements import compile_for
from tusplyr.ledger.tables import metadata


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a name with ? and %41.db"


def set_revision(path: Path, value: str) -> None:
    with closing(connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (value,))


def open_and_close(path: Path) -> None:
    async def main() -> None:
        await (await SqlLedger.open(path)).close()

    asyncio.run(main())


def test_the_head_that_is_read_from_file_names_is_alembics_own():
    scripts = ScriptDirectory.from_config(configuration())
    assert head() == scripts.get_current_head()
    assert known() == sorted(script.revision for script in scripts.walk_revisions())


def test_a_migrated_database_has_exactly_the_tables_of_the_code(path):
    migrate(path)
    engine = create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_look_for_idle_uploads_takes_a_share_of_the_table_at_a_time(path):
    migrate(path)
    sql = compile_for(sqlite.dialect(paramstyle="named")).idle
    with closing(connect(path)) as connection:
        values = {"low": "00", "high": "01", "before": 1, "limit": 1}
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    assert [row[3] for row in plan] == ["SEARCH uploads USING PRIMARY KEY (id>? AND id<?)"]


def test_whether_an_upload_is_in_use_is_seen_from_the_few_that_are_being_assembled(path):
    migrate(path)
    sql = compile_for(sqlite.dialect(paramstyle="named")).unneeded
    with closing(connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", {"was_id": "a"}).fetchall()
    details = [row[3] for row in plan]
    assert any("final USING INDEX uploads_due" in detail for detail in details), details
    assert not [detail for detail in details if detail == "SCAN final"]


@pytest.mark.parametrize("name", ["due", "hasten_all", "purge"])
def test_the_queue_and_the_purge_look_at_no_row_that_they_do_not_need(path, name):
    migrate(path)
    sql = getattr(compile_for(sqlite.dialect(paramstyle="named")), name)
    with closing(connect(path)) as connection:
        values = {"status": "received", "now": 1, "before": 1, "limit": 1, "apart": " audio/ "}
        values |= {"folder": "audio", "code": "store_down", "new_due_at": 1}
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    details = " ".join(row[3] for row in plan)
    searched = {"due": "uploads_due (due_at<?)", "hasten_all": "uploads_due (due_at>?)"}
    assert searched.get(name, "uploads_ended (updated_at<?)") in details
    assert "SCAN" not in details
    assert "TEMP B-TREE" not in details


def test_migrating_makes_the_database_and_again_changes_nothing(path):
    assert revision(path) is None
    assert migrate(path) == (None, head())
    assert revision(path) == head()
    before = path.read_bytes()
    assert migrate(path) == (head(), head())
    assert path.read_bytes() == before
    open_and_close(path)


def test_a_database_of_the_first_revision_keeps_its_uploads_and_its_shape(path):
    engine = create_engine("sqlite://", creator=lambda: connect(path, "rwc"), poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO uploads VALUES ('a', 'receiving', 0, 10, 4, X'00FF', 'audio', '.wav', 'audio/wav', 1.5, 2.5,"
            " X'01', NULL, 0, 0.0, NULL, NULL)"
        )
    engine.dispose()
    assert migrate(path) == ("0001", head())
    (upload,) = list_uploads(path, limit=9)
    assert upload == Upload(
        id="a", length=10, offset=4, metadata=b"\0\xff", media=media_of("a.wav"), created_at=1.5, updated_at=2.5,
        digest=b"\x01",
    )  # fmt: skip
    with closing(connect(path)) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    assert tables["uploads"].rstrip().endswith("WITHOUT ROWID")


def test_two_that_migrate_at_once_do_it_once(path):
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(migrate, path) for _ in range(2)]
        for run in runs:
            run.result()
    assert revision(path) == head()


def test_looking_at_the_revision_makes_no_file(path):
    assert revision(path) is None
    assert list(path.parent.iterdir()) == []


def test_a_start_refuses_a_database_that_is_missing_and_makes_none(path):
    with pytest.raises(WrongRevision, match=r"does not exist or is empty.*tusplyr migrate"):
        open_and_close(path)
    assert list(path.parent.iterdir()) == []


def test_a_newer_database_is_refused_by_all_and_stays_as_it_is(path):
    migrate(path)
    set_revision(path, "9999")
    for refuse in (open_and_close, migrate, lambda path: list_uploads(path, limit=1)):
        with pytest.raises(WrongRevision, match="revision 9999, which is newer"):
            refuse(path)
    assert revision(path) == "9999"


def test_what_is_no_database_is_refused_and_stays_as_it_is(path):
    path.write_bytes(b"not a database at all " * 100)
    for refuse in (open_and_close, migrate):
        with pytest.raises(LedgerDown, match="not a database"):
            refuse(path)
    assert path.read_bytes() == b"not a database at all " * 100


def test_a_database_of_somebody_else_is_not_migrated_half(path):
    with closing(connect(path, "rwc")) as connection:
        connection.execute("CREATE TABLE contents (theirs TEXT)")
    with pytest.raises(LedgerDown):
        migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("contents",)]


def isolated(code: str, path: Path) -> str:
    """Run code in a Python of its own; return what it printed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys, pathlib; path = pathlib.Path(sys.argv[1]); {code}", path],
        env=os.environ | {"PYTHONPATH": str(Path(tusplyr.__file__).parents[1])},
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout


def test_the_server_does_not_load_alembic(path):
    assert isolated("import tusplyr.ledger.sql; print('alembic' in sys.modules)", path) == "False\n"


def test_the_revision_is_told_without_alembic_and_sqlalchemy(path):
    code = "import tusplyr.ledger.revisions as r; print(r.head(), {'alembic', 'sqlalchemy'} & set(sys.modules))"
    assert isolated(code, path) == f"{head()} set()\n"


def test_the_migrations_are_found():
    assert (migrations() / "env.py").is_file()
