"""Rounds: every server in turn, again and again, and what came out.

Owns the order of measuring, the samples, medians and ratios. Must not know what a case does or how a
figure is shown. Invariant: within one round all servers are measured one right after the other, each
round starts with another server, and a ratio is the median of the ratios of single rounds, so that a slow
minute of the machine falls on all alike.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench.cases import Case, Figures, Sizes
from bench.client import ClientError
from bench.publishing import BucketCase, Room
from bench.servers import Running, Server, StartError, run


@dataclass
class Results:
    """Everything that a report needs; it can be kept as JSON.

    Attributes:
        facts: what it was measured on, and how.
        servers: version by name, of those that took part.
        missing: names of those that were asked for and are not on this machine.
        samples: figure -> server -> round -> value; a round is missing where the server could not do it.
        problems: server and case -> what went wrong.
    """

    facts: dict[str, str]
    servers: dict[str, str]
    missing: list[str]
    samples: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, server: str, number: int, figures: Figures) -> None:
        """Keep the figures of one measurement."""
        for name, value in figures.items():
            self.samples.setdefault(name, {}).setdefault(server, {})[str(number)] = value

    def median(self, figure: str, server: str) -> float | None:
        """Return the median over the rounds, None when there is no value."""
        values = self.samples.get(figure, {}).get(server, {}).values()
        return statistics.median(values) if values else None

    def ratio(self, figure: str, server: str, other: str) -> float | None:
        """Return the median of server / other over the rounds in which both have a value."""
        by_server = self.samples.get(figure, {})
        ours, theirs = by_server.get(server, {}), by_server.get(other, {})
        ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        return statistics.median(ratios) if ratios else None

    def tails(self) -> list[str]:
        """Return the figures of the time from last byte to reply, the shortest upload first."""
        found = [name for name in self.samples if name.startswith("last byte to reply")]
        return sorted(found, key=_length)

    def between(self, prefix: str, server: str) -> float | None:
        """Return the median of longest / shortest over the rounds, of figures that end in a length: `64 MiB ms`."""
        found = [name for name in self.samples if name.startswith(prefix)]
        if len(found) < 2:
            return None
        short, long = (self.samples[pick(found, key=_length)].get(server, {}) for pick in (min, max))
        ratios = [long[number] / short[number] for number in long if short.get(number)]
        return statistics.median(ratios) if ratios else None

    def rounds(self, figure: str) -> int:
        """Return how often a figure was measured."""
        return max(map(len, self.samples.get(figure, {}).values()), default=0)

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


FAILURES = (ClientError, StartError, OSError, ValueError, IndexError)


def _length(figure: str) -> int:
    return int(figure.split()[-3])


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def _rotated(servers: Sequence[Server], by: int) -> Iterable[Server]:
    start = by % len(servers)
    return (*servers[start:], *servers[:start])


class _Bench:
    """The servers that run at the moment, and the results so far."""

    def __init__(self, results: Results, sizes: Sizes, work: Path) -> None:
        self._results = results
        self._sizes = sizes
        self._work = work
        self._running: dict[str, tuple[Running, ExitStack]] = {}

    def measure(self, case: Case, number: int, server: Server) -> None:
        """Do a case once on one server, and keep the figures or what went wrong."""
        begun = time.monotonic()
        try:
            running = self._start(server)
            figures = case.measure(running, self._sizes)
            running.clear()
        except FAILURES as error:
            self.stop(server.name)
            self._failed(server.name, case.name, error)
            return
        if case.fresh:
            self.stop(server.name)
        self._keep(server.name, number, figures, time.monotonic() - begun)

    def publish(self, case: BucketCase, number: int) -> None:
        """Do a case of a bucket once, and keep the figures or what went wrong."""
        begun = time.monotonic()
        try:
            found = case.measure(Room(self._work, self._sizes, number))
        except (*FAILURES, subprocess.TimeoutExpired) as error:
            self._failed("tusplyr", case.name, error)
            return
        for column, figures in found.items():
            self._keep(column, number, figures, time.monotonic() - begun)

    def _keep(self, name: str, number: int, figures: Figures, seconds: float) -> None:
        self._results.add(name, number, figures)
        shown = "  ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
        say(f"    {name:<13} {seconds:5.1f} s  {shown}")

    def _failed(self, name: str, case: str, error: Exception) -> None:
        problem = str(error) or type(error).__name__
        self._results.problems[f"{name}, {case}"] = problem
        say(f"    {name:<13} could not: {problem}")

    def _start(self, server: Server) -> Running:
        if server.name not in self._running:
            stack = ExitStack()
            self._running[server.name] = (stack.enter_context(run(server, self._work)), stack)
        return self._running[server.name][0]

    def stop(self, name: str) -> None:
        """End one server if it runs."""
        if found := self._running.pop(name, None):
            found[1].close()

    def stop_all(self) -> None:
        """End all that run."""
        for name in list(self._running):
            self.stop(name)


def measure_all(
    results: Results,
    *,
    cases: Sequence[Case | BucketCase],
    servers: Sequence[Server],
    sizes: Sizes,
    rounds: int,
    work: Path,
) -> None:
    """Do every case on every server in interleaved rounds; what is found is added to `results`."""
    bench = _Bench(results, sizes, work)
    try:
        for case in cases:
            repeats = max(1, round(rounds * case.share))
            if isinstance(case, BucketCase):
                bench.stop_all()
                _repeat(case.name, repeats, partial(bench.publish, case))
            elif taking_part := [server for server in servers if server.limit in {"", case.limits}]:
                if case.fresh:
                    bench.stop_all()
                _repeat(case.name, repeats, partial(_in_turn, bench, case, taking_part))
    finally:
        bench.stop_all()


def _repeat(name: str, repeats: int, measure: Callable[[int], None]) -> None:
    for number in range(repeats):
        say(f"{name}: round {number + 1} of {repeats}")
        measure(number)


def _in_turn(bench: _Bench, case: Case, servers: Sequence[Server], number: int) -> None:
    for server in _rotated(servers, number):
        bench.measure(case, number, server)
