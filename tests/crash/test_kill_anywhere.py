"""SIGKILL where no single row of the crash table is meant: whole lives, shared commits, the sweep."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rig.life import BODY, DEATH_LIMIT, FIRST, WHOLE, await_stored, check_stored_once, resume, sweep
from rig.server import Server
from rig.story import covered
from rig.trace import LINK, SYNC, UNLINK, WRITE, attached, killed_at, read
from rig.tus import Client

pytestmark = pytest.mark.crash

MIB = 1 << 20


@pytest.mark.parametrize("nth", range(1, 13))
def test_killed_at_any_call_of_a_whole_life(nth: int, tmp_path: Path) -> None:
    """Not aimed at a step: whichever thread comes first to its nth call of any kind ends the process."""
    told = 0
    with Server(tmp_path) as server, Client(server.port) as client:
        path = client.create(WHOLE, "take.wav")
        with killed_at(server.pid, tmp_path, ("pwrite64", *SYNC, *LINK, *UNLINK, "ftruncate"), None, nth):
            try:
                for end in range(30_000, WHOLE + 1, 30_000):
                    told = client.patch(path, told, BODY[told:end]).offset
            except ConnectionError:
                pass
            assert server.wait_dead(DEATH_LIMIT), "nobody made that many calls"
        server.start()
        client.connect()
        said = resume(client, path)
        assert said is not None
        assert said >= told
        await_stored(client, path)
        sweep(server)
        assert server.spooled() == []
        check_stored_once(server)


@pytest.mark.parametrize("calls", [WRITE, SYNC], ids=["before the commit", "before its sync"])
def test_killed_in_a_commit_that_many_share(calls: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever was answered before the commit died keeps what it was told, and nobody has more than it sent."""
    told: dict[str, int] = {}
    piece = 1000

    def push(port: int, path: str) -> None:
        with Client(port) as client:
            try:
                while told[path] < WHOLE:
                    at = told[path]
                    told[path] = client.patch(path, at, BODY[at : at + piece]).offset
            except ConnectionError:
                return

    with Server(tmp_path) as server, Client(server.port) as client:
        for _ in range(8):
            told[client.create(WHOLE, "take.wav")] = 0
        with killed_at(server.pid, tmp_path, calls, str(server.data / "tusplyr.db-wal"), 40):
            threads = [threading.Thread(target=push, args=(server.port, path)) for path in told]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert server.wait_dead(DEATH_LIMIT), "not enough commits"
        assert sum(told.values()) > 0
        server.start()
        client.connect()
        for path, offset in told.items():
            assert client.head(path).offset in {offset, offset + piece}
            resume(client, path)
            await_stored(client, path)
        sweep(server)
        assert server.spooled() == []
        check_stored_once(server)


@pytest.mark.parametrize("nth", [2, 3, 5, 7])
def test_killed_while_a_checkpoint_is_made_and_more_is_written(nth: int, tmp_path: Path) -> None:
    """The row is never ahead of what was synced when the server died, however far the bytes are ahead of both."""
    body = random.Random(6).randbytes(64 * MIB)
    with Server(tmp_path, CHECKPOINT_BYTES=4 * MIB) as server, Client(server.port) as client:
        path = client.create(len(body), "take.wav")
        file = server.spool / path.rpartition("/")[2]
        slow = "inject=fdatasync:delay_enter=60000"  # microseconds: the next bytes are there before it is done
        death = f"inject=pwrite64:signal=KILL:when={nth}"
        only = ["-P", str(file), "-e", "trace=pwrite64,fdatasync", "-e", slow, "-e", death]
        client.begin(path, 0, len(body))
        client.send(body[: 6 * MIB])
        acknowledged = await_offset(server, path, 4 * MIB)
        with attached(server.pid, tmp_path, *only) as trace:
            with suppress(ConnectionError):
                client.send(body[6 * MIB :])
                client.reply()
            assert server.wait_dead(DEATH_LIMIT), "no thread wrote that often"
        calls = read(trace)
        writes = [call for call in calls if call.name == "pwrite64"]
        traced = [covered(call, writes) for call in calls if call.name == "fdatasync"]
        synced = max(acknowledged, *traced) if traced else acknowledged
        assert file.stat().st_size >= synced
        server.start()
        client.connect()
        said = client.head(path).offset
        assert acknowledged <= said <= synced
        assert client.patch(path, said, body[said:]).offset == len(body)
        digest = hashlib.sha256(body).hexdigest()
        assert hashlib.sha256((server.store / f"audio/{digest[:16]}.wav").read_bytes()).hexdigest() == digest
        sweep(server)
        assert server.spooled() == []


def await_offset(server: Server, path: str, least: int) -> int:
    """Wait for a checkpoint without disturbing the body that is coming in."""
    deadline = time.monotonic() + DEATH_LIMIT
    with Client(server.port) as monitor:
        while (offset := json.loads(monitor.request("GET", f"{path}/status").body)["offset"]) < least:
            assert time.monotonic() < deadline, offset
            time.sleep(0.01)
        return int(offset)


def test_killed_in_a_sweep(tmp_path: Path) -> None:
    """What was not removed is removed by the next one; a live upload is not touched by either."""
    with Server(tmp_path) as server, Client(server.port) as client:
        path = client.create(WHOLE, "take.wav")
        client.patch(path, 0, BODY[:FIRST])
        live = server.spooled()
        leftovers = [server.spool / f"{number:032x}" for number in range(3)]
        for file in leftovers:
            file.write_bytes(b"nobody knows me")
        for file in server.spooled():
            os.utime(file, (1, 1))
        inject = f"inject={','.join(UNLINK)}:signal=KILL:when=1"
        only = [option for file in leftovers for option in ("-P", str(file))]
        line = [
            "strace",
            "-f",
            "-o",
            str(tmp_path / "strace.out"),
            *only,
            "-e",
            f"trace={','.join(UNLINK)}",
            "-e",
            inject,
        ]
        killed = subprocess.run(
            [*line, sys.executable, "-m", "tusplyr", "sweep"], env=server.env, capture_output=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        assert len(server.spooled()) == 4
        sweep(server)
        assert server.spooled() == live
        assert resume(client, path) == FIRST
        await_stored(client, path)
