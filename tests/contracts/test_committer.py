"""How callers share commits, and what each of them is told when one fails. Real SQLite, real failures."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import tusplyr
from tusplyr.core.errors import LedgerDown, NoSpace, Superseded
from tusplyr.ledger.committer import Committer, Step, connect

Test = Callable[[Committer], Awaitable[None]]


def insert(number: int, text: str = "") -> Step:
    return Step("INSERT INTO t VALUES (:id, :text)", {"id": number, "text": text})


def update(number: int, text: str) -> Step:
    return Step("UPDATE t SET text = :text WHERE id = :id", {"id": number, "text": text}, Superseded)


class Rig:
    """A database, and every connection that its committer opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mode = "rw"
        self.opened: list[sqlite3.Connection] = []
        self.seen: list[str] = []  # statements as SQLite ran them
        with closing(connect(path, "rwc")) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")

    def opener(self) -> sqlite3.Connection:
        connection = connect(self.path, self.mode)
        connection.execute("PRAGMA busy_timeout = 50")
        connection.set_trace_callback(self.seen.append)
        self.opened.append(connection)
        return connection

    def rows(self) -> dict[int, str]:
        with closing(connect(self.path)) as connection:
            return dict(connection.execute("SELECT id, text FROM t"))

    def allow_no_more_pages(self) -> None:
        pages = self.opened[0].execute("PRAGMA page_count").fetchone()[0]
        self.opened[0].execute(f"PRAGMA max_page_count = {pages}")

    def run(self, test: Test) -> None:
        async def main() -> None:
            committer = Committer(self.opener)
            await committer.open()
            try:
                await test(committer)
            finally:
                await committer.close()

        asyncio.run(main())


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path / "t.db")


async def told(*calls: Awaitable[int]) -> list[object]:
    """What each caller got: its count, or the class of its error."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return [type(outcome) if isinstance(outcome, BaseException) else outcome for outcome in outcomes]


def test_the_writer_syncs_every_commit(rig):
    with closing(connect(rig.path)) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2}


def test_callers_that_wait_at_the_same_moment_share_one_commit(rig):
    async def test(committer):
        assert await told(*(committer.commit(insert(number)) for number in range(50))) == [1] * 50
        assert rig.seen.count("COMMIT") == 1

    rig.run(test)
    assert len(rig.rows()) == 50


def test_callers_that_come_while_a_commit_runs_share_the_next(rig):
    async def test(committer):
        first = asyncio.create_task(committer.commit(insert(0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        later = [asyncio.create_task(committer.commit(insert(number))) for number in range(1, 20)]
        await asyncio.gather(first, *later)
        assert rig.seen.count("COMMIT") == 2

    rig.run(test)


def test_the_answer_comes_after_the_commit(rig):
    async def test(committer):
        for number in range(5):
            await committer.commit(insert(number))
            assert number in await asyncio.to_thread(rig.rows)

    rig.run(test)


def test_a_unit_that_fails_leaves_its_neighbours_alone(rig):
    async def test(committer):
        await committer.commit(insert(1, "kept"))
        assert await told(
            committer.commit(insert(2)),
            committer.commit(update(9, "no such row")),
            committer.commit(insert(1, "taken")),
            committer.commit(insert(2**63)),
            committer.commit(insert(5, "\udc00")),
            committer.commit(Step("INSERT INTO nowhere VALUES (1)", {})),
            committer.commit(insert(3)),
        ) == [1, Superseded, Superseded, OverflowError, UnicodeEncodeError, LedgerDown, 1]

    rig.run(test)
    assert rig.rows() == {1: "kept", 2: "", 3: ""}
    assert len(rig.opened) == 1


def test_a_unit_is_kept_whole_or_not_at_all(rig):
    async def test(committer):
        assert await told(
            committer.commit(insert(1), insert(2), update(9, "refused")),
            committer.commit(insert(3), insert(4), update(3, "allowed")),
        ) == [Superseded, 1]

    rig.run(test)
    assert rig.rows() == {3: "allowed", 4: ""}


def test_a_cancelled_caller_breaks_nothing_and_its_unit_is_whole(rig):
    async def test(committer):
        tasks = [asyncio.create_task(committer.commit(insert(number), insert(number + 10))) for number in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert tasks[1].cancelled()
        assert [tasks[0].result(), tasks[2].result()] == [1, 1]
        assert await committer.commit(insert(5)) == 1

    rig.run(test)
    assert set(rig.rows()) in ({0, 10, 2, 12, 5}, {0, 10, 1, 11, 2, 12, 5})


def test_a_full_database_fails_the_whole_group_and_works_again_with_room(rig):
    async def test(committer):
        await committer.commit(insert(1, "before"))
        await asyncio.to_thread(rig.allow_no_more_pages)
        group = (
            lambda: committer.commit(update(1, "small")),
            lambda: committer.commit(insert(2), insert(3, "big" * 100_000)),
            lambda: committer.commit(insert(4)),
        )
        assert await told(*(call() for call in group)) == [NoSpace] * 3
        assert await asyncio.to_thread(rig.rows) == {1: "before"}
        await asyncio.to_thread(rig.opened[0].execute, "PRAGMA max_page_count = 10000")
        assert await told(*(call() for call in group)) == [1] * 3

    rig.run(test)
    assert {number: text[:5] for number, text in rig.rows().items()} == {1: "small", 2: "", 3: "bigbi", 4: ""}


@contextmanager
def no_file_may_grow_beyond(length: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_commit_that_cannot_be_written_fails_the_whole_group_and_the_next_one_works(rig):
    async def test(committer):
        await committer.commit(insert(1, "before"))
        log = await asyncio.to_thread(lambda: Path(f"{rig.path}-wal").stat().st_size)
        with no_file_may_grow_beyond(log):
            outcomes = await told(committer.commit(update(1, "after")), committer.commit(insert(2)))
        assert outcomes == [LedgerDown] * 2
        assert await asyncio.to_thread(rig.rows) == {1: "before"}
        assert await told(committer.commit(update(1, "again")), committer.commit(insert(3))) == [1, 1]

    rig.run(test)
    assert rig.seen.count("COMMIT") == 3  # the failure came from the second of them
    assert rig.rows() == {1: "again", 3: ""}


def test_every_caller_of_a_failed_group_gets_an_error_of_its_own_with_the_cause(rig):
    async def test(committer):
        await asyncio.to_thread(rig.opened[0].execute, "PRAGMA query_only = ON")
        calls = [committer.commit(insert(number)) for number in range(2)]
        first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert first is not second
        assert {type(error.__cause__) for error in (first, second)} == {sqlite3.OperationalError}

    rig.run(test)


def test_a_read_only_database_fails_everyone(rig):
    rig.mode = "ro"

    async def test(committer):
        assert await told(committer.commit(insert(1)), committer.commit(insert(2))) == [LedgerDown] * 2

    rig.run(test)
    assert rig.rows() == {}


def test_a_connection_that_broke_is_opened_again(rig):
    async def test(committer):
        await committer.commit(insert(1))
        rig.opened[0].close()
        assert await told(committer.commit(insert(2)), committer.commit(insert(3))) == [LedgerDown] * 2
        assert await committer.commit(insert(4)) == 1

    rig.run(test)
    assert set(rig.rows()) == {1, 4}


def test_another_writer_is_waited_for_no_longer_than_the_busy_timeout(rig):
    other = connect(rig.path)

    async def test(committer):
        assert await told(committer.commit(insert(1)), committer.commit(insert(2))) == [LedgerDown] * 2
        # Nobody got as far as a statement: each would have waited the whole time, one after the other.
        assert not [statement for statement in rig.seen if statement.startswith("INSERT")]
        await asyncio.to_thread(other.execute, "ROLLBACK")
        assert await committer.commit(insert(3)) == 1

    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        rig.run(test)
    assert set(rig.rows()) == {3}
    assert len(rig.opened) == 1  # a busy database is no reason for a new connection


def test_a_missing_database_is_not_made(tmp_path):
    async def main() -> None:
        await Committer(lambda: connect(tmp_path / "none.db")).open()

    with pytest.raises(LedgerDown):
        asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_close_commits_what_waits_and_refuses_what_comes_after(rig):
    async def test(committer):
        running = asyncio.create_task(committer.commit(insert(0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(committer.commit(insert(number))) for number in range(1, 5)]
        await asyncio.sleep(0)
        await committer.close()
        assert [task.done() and task.result() for task in (running, *waiting)] == [1] * 5
        assert await told(committer.commit(insert(9))) == [LedgerDown]
        await committer.close()

    rig.run(test)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        rig.opened[0].execute("SELECT 1")
    assert len(rig.rows()) == 5


RIVAL = """
import asyncio, sys
from functools import partial
from pathlib import Path
from tusplyr.core.errors import Superseded
from tusplyr.ledger.committer import Committer, Step, connect

async def main():
    committer = Committer(partial(connect, Path(sys.argv[1])))
    await committer.open()
    print("ready", flush=True)
    sys.stdin.readline()
    won = 0
    for number in range(100):
        claim = Step("UPDATE t SET text = 'rival' WHERE id = :id AND text = ''", {"id": number}, Superseded)
        try:
            won += await committer.commit(claim)
        except Superseded:
            pass
    await committer.close()
    print(won)

asyncio.run(main())
"""


def test_another_process_that_writes_at_the_same_time_loses_and_overwrites_nothing(rig):
    def opener() -> sqlite3.Connection:
        return connect(rig.path)  # with its real patience

    async def main(rival: "subprocess.Popen[str]") -> int:
        committer = Committer(opener)
        await committer.open()
        await asyncio.gather(*(committer.commit(insert(number)) for number in range(100)))
        await asyncio.to_thread(rival.stdin.write, "go\n")
        await asyncio.to_thread(rival.stdin.flush)
        won = 0
        for number in reversed(range(100)):
            sql = "UPDATE t SET text = 'mine' WHERE id = :id AND text = ''"
            won += (await told(committer.commit(Step(sql, {"id": number}, Superseded)))) == [1]
        await committer.close()
        return won

    environment = os.environ | {"PYTHONPATH": str(Path(tusplyr.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", RIVAL, str(rig.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as rival:
        assert rival.stdout.readline() == "ready\n"
        mine = asyncio.run(main(rival))
        theirs = int(rival.communicate(timeout=30)[0])
    texts = list(rig.rows().values())
    assert (texts.count("mine"), texts.count("rival")) == (mine, theirs)
    assert mine + theirs == 100
