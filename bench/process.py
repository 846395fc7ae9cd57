"""What a process tree costs, read from /proc.

Owns CPU seconds and resident memory of a server and its children. Must not know what the server does.
Invariant: figures are of the whole tree, so a server gains nothing by moving work to a child.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_KIB = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident MiB of a tree: now, and the most so far."""

    resident: float
    peak: float


def tree(pid: int) -> list[int]:
    """Return the process and its descendants that are alive."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return user and system time of the tree so far, ended children that were waited for included."""
    total = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return total / _TICK


def disk_bytes(pid: int) -> tuple[int, int]:
    """Return the bytes that the tree has had read from and written to disk so far."""
    read = written = 0
    for each in tree(pid):
        fields = dict(line.split(": ") for line in Path(f"/proc/{each}/io").read_text().splitlines())
        read += int(fields["read_bytes"])
        written += int(fields["write_bytes"])
    return read, written


def memory(pid: int) -> Memory:
    """Return what the tree holds. Peaks of several processes are added, which can only overstate them."""
    sums = {"VmRSS": 0, "VmHWM": 0}
    for each in tree(pid):
        for name, kib in _KIB.findall(Path(f"/proc/{each}/status").read_text()):
            sums[name] += int(kib)
    return Memory(sums["VmRSS"] / 1024, sums["VmHWM"] / 1024)
