"""System calls of a real server, seen and stopped from outside with strace.

Owns attaching to a running process, killing it at a chosen system call, and reading a trace. Must
not know what the calls mean. Invariant: a process is killed on *entering* the chosen call, which is
then not carried out: everything before it has happened, and nothing after.

strace counts calls per thread. A count above one is exact only where one thread makes all of them.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SEND = ("sendto", "sendmsg", "write", "writev")  # whatever an event loop answers with
SYNC = ("fdatasync", "fsync")
WRITE = ("pwrite64", "pwritev", "write")
LINK = ("link", "linkat")
COPY_RANGE = ("copy_file_range",)
UNLINK = ("unlink", "unlinkat")
RENAME = ("rename", "renameat", "renameat2")

ATTACH_LIMIT = 20.0  # seconds


class Call(NamedTuple):
    """One system call.

    Attributes:
        name: of the call.
        arguments: as strace prints them, descriptors with their paths.
        began: number of the line where it was entered.
        ended: number of the line where it returned.
    """

    name: str
    arguments: str
    began: int
    ended: int


@contextmanager
def attached(pid: int, folder: Path, *options: str) -> Iterator[Path]:
    """Trace a process with all its threads for the length of a block; yield the file of the trace."""
    if shutil.which("strace") is None:
        raise RuntimeError("strace is not installed; the crash ring needs it (apt-get install strace)")
    trace, said = folder / "strace.out", folder / "strace.err"
    trace.unlink(missing_ok=True)
    with said.open("w") as errors:
        tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), "-o", str(trace), *options], stderr=errors)
    try:
        deadline = time.monotonic() + ATTACH_LIMIT
        while " attached" not in said.read_text():
            if tracer.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"strace could not attach: {said.read_text()}")
            time.sleep(0.01)
        yield trace
    finally:
        tracer.terminate()  # detaches; the process goes on
        tracer.wait()


@contextmanager
def killed_at(pid: int, folder: Path, calls: tuple[str, ...], path: str | None, nth: int) -> Iterator[None]:
    """Kill the process when a thread enters its nth call of these, on that path, within the block."""
    names = ",".join(calls)
    only = ["-P", path] if path else []
    with attached(pid, folder, *only, "-e", f"trace={names}", "-e", f"inject={names}:signal=KILL:when={nth}"):
        yield


def socket_of(client_port: int, server_port: int) -> str:
    """Return the server's end of a loopback connection as strace names it."""
    server, client = f":{server_port:04X}", f":{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *rest = line.split()
        if local.endswith(server) and remote.endswith(client):
            return f"socket:[{rest[6]}]"
    raise LookupError(f"no connection from {client_port} to {server_port}")


ENTERED = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)")


def read(trace: Path) -> list[Call]:
    """Return the calls of a trace that returned, in the order in which they were entered."""
    calls: list[Call] = []
    waiting: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        if found := RESUMED.match(line):
            name, arguments, began = waiting.pop(found["thread"])
            calls.append(Call(name, arguments + found["arguments"], began, number))
        elif found := ENTERED.match(line):
            if line.endswith("<unfinished ...>"):
                waiting[found["thread"]] = (found["name"], found["arguments"], number)
            else:
                calls.append(Call(found["name"], found["arguments"], number, number))
    return sorted(calls, key=lambda call: call.began)
