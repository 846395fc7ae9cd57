"""The servers: what they are called, how each is found and started, how each is ended.

Owns every command line and the life of every process. Must not know the cases. Invariant: whatever was
started is ended by its process id, and its data is removed, however the run ends.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import process

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
_PEER_PYTHON = ROOT / ".work" / "peers" / "python" / "bin" / "python"
_START = 20.0  # seconds for a server to answer
_STOP = 6.0  # seconds between SIGTERM and SIGKILL
SMALL_BODY = 256 * 1024  # bytes
_BODY_LIMIT = 2 * 1024**3  # rustus refuses longer PATCH bodies

Command = Callable[[int, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Server:
    """How to run one server.

    Attributes:
        name: as in the tables and for `--servers`.
        needs: the program or file that must be there.
        command: arguments for a port and a data directory.
        environment: variables for a port and a data directory.
        path: where uploads are created.
        version: a command that prints it, or the text itself.
        ours: replies are checked for the digest.
        limit: not a server but a bound; the kind of cases that it takes part in.
    """

    name: str
    needs: Path | str
    command: Command
    environment: Callable[[int, Path], dict[str, str]] = field(default=lambda _port, _data: {})
    path: str = "/files"
    version: str | tuple[str, ...] = ""
    ours: bool = False
    limit: str = ""

    def found(self) -> bool:
        """What it needs is on this machine."""
        return self.needs.exists() if isinstance(self.needs, Path) else shutil.which(self.needs) is not None

    def describe(self) -> str:
        """Return its version in one line."""
        if isinstance(self.version, str):
            return self.version
        try:
            done = subprocess.run(self.version, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return "version unknown"
        return (done.stdout.strip() or done.stderr.strip() or "version unknown").replace("\n", "; ")


def _tusplyr(name: str, *, direct: bool) -> Server:
    program = Path(sys.executable).parent / "tusplyr"

    def environment(port: int, data: Path) -> dict[str, str]:
        return {
            "TUSPLYR_HOST": "127.0.0.1",
            "TUSPLYR_PORT": str(port),
            "TUSPLYR_DATA_DIR": str(data),
            "TUSPLYR_DIRECT_BODY": str(direct).lower(),
        }

    return Server(
        name=name,
        needs=program,
        command=lambda _port, _data: [str(program), "serve"],
        environment=environment,
        version=(str(program), "--version"),
        ours=True,
    )


def configured(settings: dict[str, str]) -> Server:
    """Return tusplyr with other variables beside its own."""
    server = _tusplyr("tusplyr", direct=True)
    own = server.environment
    return replace(server, environment=lambda port, data: own(port, data) | settings)


def _limit(name: str, kind: str, *words: str, version: str) -> Server:
    return Server(
        name=name,
        needs=Path(sys.executable),
        command=lambda port, data: [sys.executable, "-m", words[0], str(port), str(data), *words[1:]],
        version=version,
        limit=kind,
    )


def _tusd(port: int, data: Path) -> list[str]:
    listen = ["-host", "127.0.0.1", "-port", str(port), "-base-path", "/files/"]
    return ["tusd", *listen, "-upload-dir", str(data), "-show-greeting=false", "-verbose=false"]


def _rustus(port: int, data: Path) -> list[str]:
    listen = ["-h", "127.0.0.1", "-p", str(port), "--url", "/files", "--log-level", "ERROR"]
    return ["rustus", *listen, "--data-dir", str(data), "--info-dir", str(data), "-m", str(_BODY_LIMIT)]


def _pinned(file: str, start: str) -> str:
    lines = (line.strip(' ",') for line in (PEERS / file).read_text().splitlines())
    return next((line.replace('": "', " ") for line in lines if line.startswith(start)), "version unknown")


def catalogue() -> list[Server]:
    """Return all servers in the order of the tables, whether they are there or not."""
    return [
        _tusplyr("tusplyr", direct=True),
        _tusplyr("tusplyr-asgi", direct=False),
        Server(
            name="tuspyserver",
            needs=_PEER_PYTHON,
            command=lambda port, data: [str(_PEER_PYTHON), str(PEERS / "tuspyserver_app.py"), str(port), str(data)],
            version=_pinned("requirements.txt", "tuspyserver"),
        ),
        Server(
            name="@tus/server",
            needs=PEERS / "node_modules" / "@tus" / "server",
            command=lambda port, data: ["node", str(PEERS / "node-server.mjs"), str(port), str(data)],
            version=_pinned("package.json", "@tus/server"),
        ),
        Server(
            name="tusd",
            needs="tusd",
            command=_tusd,
            path="/files/",
            version=("tusd", "--version"),
        ),
        Server(
            name="rustus",
            needs="rustus",
            command=_rustus,
            version=("rustus", "--version"),
        ),
        _limit("bare", "body", "bench.bare", version="receives, writes, hashes; no sync"),
        _limit("bare-sync", "body", "bench.bare", "--sync", version="the same, a sync every 16 MiB and at the end"),
        _limit("null", "small", "bench.null", version="Litestar on uvicorn that does nothing"),
        _limit("null-sync", "small", "bench.null", "--sync", version="the same, with three syncs an upload"),
    ]


class StartError(Exception):
    """A server that is there did not come up."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        server: what it is.
        port: where it listens on 127.0.0.1.
        pid: root of its process tree.
        data: its directory.
        idle: MiB resident before the first upload.
    """

    server: Server
    port: int
    pid: int
    data: Path
    idle: float

    def clear(self) -> None:
        """Remove the long bodies that it keeps, so that neither disk nor page cache fills.

        Thousands of small ones stay until the end: ext4 searches long for an inode for whoever makes a file within
        minutes of so many removals, and that would be charged to the server that comes next.
        """
        for path in self.data.rglob("*"):
            with suppress(FileNotFoundError):  # the server tidies up, too
                if path.is_file() and path.stat().st_size > SMALL_BODY and ".db" not in path.name:
                    path.unlink()
        os.sync()

    def kill(self) -> None:
        """End it at once, without a word."""
        for pid in process.tree(self.pid):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START
    request = b"OPTIONS /files HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n"
    while time.monotonic() < deadline:
        if started.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(request)
                if probe.recv(4096):
                    return
        except OSError:
            time.sleep(0.05)
    raise StartError(log.read_text(errors="replace").strip()[-500:] or f"did not answer within {_START:.0f} s")


def end(started: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started."""
    members = process.tree(started.pid) if started.poll() is None else []
    started.terminate()
    try:
        started.wait(_STOP)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server keeps its data and listens, over as many lives as are wanted of it."""

    port: int
    data: Path
    log: Path


@contextmanager
def prepared(server: Server, work: Path) -> Iterator[Place]:
    """Give a server a fresh directory under `work`."""
    port = free_port()
    data = work / f"{server.name.strip('@').replace('/', '-')}-{port}"
    data.mkdir(parents=True)
    log = data.with_suffix(".log")
    try:
        yield Place(port, data, log)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        log.unlink(missing_ok=True)


@contextmanager
def started(server: Server, place: Place) -> Iterator[Running]:
    """Let a server live once. Raises `StartError`."""
    with place.log.open("ab") as output:
        child = subprocess.Popen(
            server.command(place.port, place.data),
            cwd=ROOT,
            env=os.environ | server.environment(place.port, place.data),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        _await_answer(child, place.port, place.log)
        time.sleep(0.5)  # late imports and first timers belong to the idle server
        yield Running(server, place.port, child.pid, place.data, process.memory(child.pid).resident)
    finally:
        end(child)


@contextmanager
def run(server: Server, work: Path) -> Iterator[Running]:
    """Run a server on a fresh directory under `work`. Raises `StartError`."""
    with prepared(server, work) as place, started(server, place) as running:
        yield running
