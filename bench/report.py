"""The tables, in Markdown that also reads well on a terminal.

Owns the wording of the results and what must be reached. Must not know how a figure was measured.
Invariant: what was not measured is shown as such, never left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import plot
from bench.measure import Results
from bench.publishing import BOTO, MARK, OURS
from bench.servers import catalogue

_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that we must reach.

    Attributes:
        what: in words.
        value: computes it; None when not measured.
        least: it must be at least `must` (else at most).
        must: the bound; without one it is for information.
        mark: the bound beyond it that we aim for, if there is one.
    """

    what: str
    value: Callable[[Results], float | None]
    least: bool
    must: float | None = None
    mark: float | None = None

    def verdict(self, results: Results) -> str:
        """Return one word on it."""
        value = self.value(results)
        if value is None:
            return "not measured"
        if self.mark is not None and self._holds(value, self.mark):
            return "mark reached"
        if self.must is None:
            return "for information" if self.mark is None else "below the mark"
        return "reached" if self._holds(value, self.must) else "**missed**"

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.least else value <= bound


def _ratio(figure: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(figure, OURS, other)


def _bound(figure: str, limit: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(figure, limit, other)


def _worst(*figures: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        medians = [results.median(figure, OURS) for figure in figures]
        present = [median for median in medians if median is not None]
        return max(present) if len(present) == len(figures) else None

    return value


def _growth(results: Results) -> float | None:
    tails = results.tails()
    if len(tails) < 2:
        return None
    short, long = (results.median(figure, OURS) for figure in (tails[0], tails[-1]))
    return long / short if short and long else None


def _bucket(figure: str) -> Callable[[Results], float | None]:
    return _worst(MARK + figure)


def _published(scheme: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(f"{MARK}publish over {scheme} MiB/s", OURS, BOTO)


def _stored(way: str) -> Callable[[Results], float | None]:
    """Return how the longest compares with the shortest, round by round."""
    return lambda results: results.between(f"{MARK}last byte to stored{way}, ", OURS)


_ONE = [f"RSS one, {size} writes MiB" for size in ("1 KiB", "64 KiB", "8 MiB")]
TARGETS = (
    Target("throughput, one PATCH / tuspyserver", _ratio("one PATCH MiB/s", "tuspyserver"), True, 0.9, 1.2),
    Target("throughput, one PATCH / @tus/server", _ratio("one PATCH MiB/s", "@tus/server"), True, 1.3, 1.5),
    Target("throughput, one PATCH / tusd", _ratio("one PATCH MiB/s", "tusd"), True, 0.8, 1.0),
    Target("throughput, 8 MiB PATCHes / tuspyserver", _ratio("8 MiB PATCHes MiB/s", "tuspyserver"), True, 0.9, 1.2),
    Target("throughput, 8 MiB PATCHes / @tus/server", _ratio("8 MiB PATCHes MiB/s", "@tus/server"), True, 1.3, 1.5),
    Target("throughput, 8 MiB PATCHes / tusd", _ratio("8 MiB PATCHes MiB/s", "tusd"), True, 0.8, 1.0),
    Target("throughput, one PATCH / bare loop that syncs", _ratio("one PATCH MiB/s", "bare-sync"), True),
    Target("throughput, 8 MiB PATCHes / bare loop that syncs", _ratio("8 MiB PATCHes MiB/s", "bare-sync"), True),
    Target("CPU per GiB, one PATCH / bare loop", _ratio("one PATCH CPU s/GiB", "bare"), False, 1.5, 1.3),
    Target("CPU per GiB, 8 MiB PATCHes / bare loop", _ratio("8 MiB PATCHes CPU s/GiB", "bare"), False, 1.5, 1.3),
    Target("small uploads, 1 connection / tuspyserver", _ratio("small, 1 conn /s", "tuspyserver"), True, 4.0),
    Target("small uploads, 32 connections / tuspyserver", _ratio("small, 32 conn /s", "tuspyserver"), True, 4.0),
    Target("small uploads, 1 connection / tusd", _ratio("small, 1 conn /s", "tusd"), True, None, 1.0),
    Target("small uploads, 32 connections / tusd", _ratio("small, 32 conn /s", "tusd"), True, None, 1.0),
    *(
        Target(f"{what} / tuspyserver, {where}", _bound(f"small, {count} conn /s", limit, "tuspyserver"), True)
        for count, where in ((1, "1 connection"), (32, "32 connections"))
        for limit, what in (("null", "stack that does nothing"), ("null-sync", "the same with three syncs"))
    ),
    Target("RSS idle, MiB", _worst("RSS idle MiB"), False, 80.0),
    Target("RSS above idle, one upload, any write size, MiB", _worst(*_ONE), False, 16.0),
    Target("RSS above idle, 100 active, MiB", _worst("RSS 100 active MiB"), False, 64.0),
    Target("RSS above idle, 100 stalled, MiB", _worst("RSS 100 stalled MiB"), False, 64.0),
    Target("HEAD p99 during ingest, ms", _worst("HEAD p99 ms"), False, 50.0),
    Target("last byte to reply, longest / shortest", _growth, False, 2.0),
    *(
        Target(f"takeover from a stalled request by {method}, ms", _worst(f"takeover by {method} ms"), False, 100.0)
        for method in ("HEAD", "PATCH", "DELETE")
    ),
    Target("concatenation of 4 GiB, until the reply, ms", _worst("concatenation, reply ms"), False, 2000.0),
    Target("concatenation, disk reads / length", _worst("concatenation, disk reads / length"), False, 1.05),
    Target("concatenation, disk writes / length", _worst("concatenation, disk writes / length"), False, 1.05),
    Target("RSS above idle, concatenating, MiB", _worst("RSS concatenating MiB"), False, 16.0),
    Target("throughput with a sha256 checksum / without", _worst("sha256 checksum / without"), True, 0.6),
    Target("publishing to a bucket over TLS / boto3", _published("TLS"), True, 0.8),
    Target("publishing to a bucket over HTTP / boto3", _published("HTTP"), True, 0.8),
    *(
        target
        for way in ("", " with overlap")
        for target in (
            Target(f"RSS above idle, slow bucket{way}, MiB", _bucket(f"slow{way}, RSS above idle MiB"), False, 50.0),
            Target(f"/health/live p99, slow bucket{way}, ms", _bucket(f"slow{way}, live p99 ms"), False, 500.0),
        )
    ),
    Target("last byte to stored with overlap, longest / shortest", _stored(" with overlap"), False, 1.5),
    Target("last byte to stored without overlap, longest / shortest", _stored(""), False),
    Target("parts sent again after a kill, of 4 in flight", _bucket("killed half-way, sent again"), False, 4.0),
    Target("requests to the bucket for 3 MiB", _bucket("requests for 3 MiB"), False, 1.0),
    Target("requests to the bucket for n parts, beyond n", _bucket("requests beyond parts"), False, 3.0),
)


def _number(value: float | None) -> str:
    if value is None:
        return _ABSENT
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join(cells) + " |\n"

    rule = "| " + " | ".join(("-" * width if not at else "-" * (width - 1) + ":") for at, width in enumerate(widths))
    return line(rows[0]) + rule + " |\n" + "".join(map(line, rows[1:]))


def _figures(results: Results) -> str:
    names = [server.name for server in catalogue() if server.name in results.servers or server.name in results.missing]
    rows = [["median", "rounds", *names]]
    for figure, by_server in results.samples.items():
        if figure.startswith(MARK):
            continue
        values = (
            "missing"
            if name in results.missing
            else _number(results.median(figure, name) if name in by_server else None)
            for name in names
        )
        rows.append([figure, str(results.rounds(figure)), *values])
    return _table(rows)


def _publishing(results: Results) -> str:
    rows = [["median", "rounds", OURS, BOTO]]
    for figure in results.samples:
        if figure.startswith(MARK):
            values = (_number(results.median(figure, name)) for name in (OURS, BOTO))
            rows.append([figure.removeprefix(MARK), str(results.rounds(figure)), *values])
    return _table(rows)


def _targets(results: Results) -> str:
    rows = [["tusplyr (direct body)", "measured", "must", "mark", "verdict"]]
    for target in TARGETS:
        sign = "≥" if target.least else "≤"
        must = f"{sign} {target.must:g}" if target.must is not None else ""
        mark = f"{sign} {target.mark:g}" if target.mark is not None else ""
        rows.append([target.what, _number(target.value(results)), must, mark, target.verdict(results)])
    return _table(rows)


def text(results: Results) -> str:
    """Return the whole report."""
    facts = "".join(f"- {name}: {value}\n" for name, value in results.facts.items() if name != "command")
    servers = "".join(f"- `{name}`: {version}\n" for name, version in results.servers.items())
    missing = "".join(f"- `{name}`: missing on this machine\n" for name in results.missing)
    problems = "".join(f"- {where}: {what}\n" for where, what in results.problems.items())
    return f"""# Measured beside its peers

    {results.facts["command"]}

Medians of interleaved rounds; ratios are medians of the ratios of single rounds. The peers neither hash nor sync:
tusplyr does both before each reply. How it is measured: `bench/README.md`.

{facts}
{servers}{missing}
## Figures

{_figures(results)}
{_ABSENT} means: not measured, or the server could not do it (below).

## Publishing to a bucket

{_publishing(results)}
## What must be reached

{_targets(results)}
## What did not work

{problems or "Everything worked."}
"""


def write(results: Results, folder: Path) -> None:
    """Write `bench.md` and `bench.png` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(text(results).rstrip() + "\n\n![The figures as a plot](bench.png)\n")
    plot.write(results, folder / "bench.png")
