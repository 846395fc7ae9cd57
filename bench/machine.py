"""What the figures were measured on.

Owns the facts that a reader needs to judge a figure: disk, sync, cores, versions. Must not know servers.
Invariant: it refuses a file system in memory, where a sync costs nothing and every figure would lie.
"""

import importlib.metadata
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from bench.payload import GIB, MIB, block

_IN_MEMORY = {"tmpfs", "ramfs", "zram"}


class UnfitError(Exception):
    """The figures would mean nothing here."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What holds a directory."""

    kind: str
    device: str


def volume(directory: Path) -> Volume:
    """Return the file system and the device under an existing directory."""
    best: tuple[int, Volume] = (-1, Volume("unknown", "unknown"))
    resolved = directory.resolve()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = Path(left.split()[4].replace("\\040", " "))
        kind, device = right.split()[:2]
        if resolved.is_relative_to(mount) and len(mount.parts) >= best[0]:
            best = (len(mount.parts), Volume(kind, device))
    return best[1]


def check(directory: Path, needed: int) -> None:
    """Refuse a directory in memory or with less than `needed` bytes free. Raises `UnfitError`."""
    found = volume(directory)
    if found.kind in _IN_MEMORY or found.device.startswith("/dev/zram"):
        raise UnfitError(f"{directory} is on {found.kind}: in memory. Give a directory on a disk with --data-dir.")
    state = os.statvfs(directory)
    if (free := state.f_bavail * state.f_frsize) < needed:
        raise UnfitError(f"{directory} has {free / GIB:.1f} GiB free; {needed / GIB:.0f} GiB are needed.")


def _medium(found: Volume) -> str:
    name = Path(found.device).resolve().name
    for base in (name, name.rstrip("0123456789"), name.rpartition("p")[0]):
        queue = Path(f"/sys/block/{base}/queue/rotational")
        if base and queue.exists():
            kind = "virtual disk" if base.startswith(("vd", "xvd")) else "rotating" if int(queue.read_text()) else "SSD"
            return f"{found.kind} on {base} ({kind})"
    return f"{found.kind} on {name}"


def sync_milliseconds(directory: Path, rounds: int = 50) -> float:
    """Return the median of one fdatasync after 4 KiB were added to a file."""
    path = directory / "sync-probe"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    taken = []
    try:
        for _ in range(rounds):
            os.write(file, block()[:4096])
            begun = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(taken) * 1000


def synced_throughput(directory: Path) -> float:
    """Return MiB/s of writing 512 MiB with a sync every 16 MiB, without network or hash."""
    path = directory / "write-probe"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    begun = time.perf_counter()
    try:
        for _ in range(32):
            for at in (0, 8 * MIB):
                os.write(file, block()[: 8 * MIB])
                if at:
                    os.fdatasync(file)
        return 512 / (time.perf_counter() - begun)
    finally:
        os.close(file)
        path.unlink()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")
    return f"{os.cpu_count()} x {model}"


def _kernel() -> str:
    return ".".join(platform.release().split(".")[:2])


def _ram() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / GIB:.0f} GiB"


def facts(directory: Path) -> dict[str, str]:
    """Return everything about the machine that the table needs, measured now."""
    return {
        "disk": _medium(volume(directory)),
        "one fdatasync": f"{sync_milliseconds(directory):.2f} ms (median, 4 KiB added)",
        "synced writing": f"{synced_throughput(directory):.0f} MiB/s (a sync every 16 MiB)",
        "machine": f"{_processor()}, {_ram()} RAM, {platform.system()} {_kernel()}",
        "python": platform.python_version(),
        "uvicorn": importlib.metadata.version("uvicorn"),
        "load average": " ".join(f"{each:.2f}" for each in os.getloadavg()) + " at the start",
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
    }
