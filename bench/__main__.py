"""The command line of the bench: what to measure, on which servers, how often.

Owns flags and the order of things. Must not know how anything is measured. Invariant: it asserts nothing
about time: a slow server is a figure, never an exit code.

    python -m bench run                      everything, about 35 minutes
    python -m bench run --quick              small sizes, one round: does it work?
    python -m bench report --write-docs      the table and plot of the last run again, into docs/
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import machine, report
from bench.cases import CASES, FULL, QUICK, Case
from bench.measure import Results, measure_all, say
from bench.payload import GIB
from bench.publishing import BUCKET_CASES, OURS, BucketCase, versions
from bench.servers import ROOT, catalogue

_ALL: tuple[Case | BucketCase, ...] = (*CASES, *BUCKET_CASES)
_LAST = ROOT / "bench" / "results" / "last.json"
_NEEDED = 12 * GIB  # free bytes before a full run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure tusplyr beside its peers, in turn, on this machine."
    )
    commands = parser.add_subparsers(dest="command", metavar="run | report")
    run = commands.add_parser("run", help="measure, print the tables, keep the samples in bench/results/last.json")
    run.add_argument("--quick", action="store_true", help="small sizes and one round: a smoke test, not a measurement")
    run.add_argument("--rounds", type=int, default=None, help="interleaved rounds (9; with --quick 1)")
    run.add_argument("--only", metavar="CASE", action="append", help=f"{', '.join(c.name for c in _ALL)}, or a prefix")
    names = ",".join(server.name for server in catalogue())
    run.add_argument("--servers", metavar="A,B", help=f"some of {names}")
    run.add_argument("--data-dir", type=Path, default=ROOT / ".work" / "bench", help="a directory on a real disk")
    again = commands.add_parser("report", help="print the tables of the last run again")
    for each in (run, again):
        each.add_argument("--write-docs", action="store_true", help="write docs/bench.md and docs/bench.png")
    return parser


def _command(arguments: argparse.Namespace) -> str:
    words = ["python -m bench run"]
    words += ["--quick"] * arguments.quick
    words += [f"--rounds {arguments.rounds}"] if arguments.rounds else []
    words += [f"--only {each}" for each in arguments.only or []]
    words += [f"--servers {arguments.servers}"] if arguments.servers else []
    return " ".join(words)


def _measure(arguments: argparse.Namespace) -> Results:
    wanted = arguments.servers.split(",") if arguments.servers else None
    servers = [server for server in catalogue() if wanted is None or server.name in wanted]
    of_ours = BUCKET_CASES if any(server.name == OURS for server in servers) else ()
    cases = [case for case in (*CASES, *of_ours) if not arguments.only or case.name.startswith(tuple(arguments.only))]
    if not servers or not cases:
        raise SystemExit("bench: no such server or case; see python -m bench run --help")
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=arguments.data_dir.resolve()))
    try:
        machine.check(work, GIB if arguments.quick else _NEEDED)
        found = [server for server in servers if server.found()]
        absent = [server.name for server in servers if not server.found()]
        facts = {"command": _command(arguments), **machine.facts(work)}
        taking_part = {server.name: server.describe() for server in found} | (versions() if of_ours else {})
        results = Results(facts, taking_part, absent)
        for name in absent:
            say(f"{name}: missing on this machine")
        rounds = arguments.rounds or (1 if arguments.quick else 9)
        sizes = QUICK if arguments.quick else FULL
        try:
            measure_all(results, cases=cases, servers=found, sizes=sizes, rounds=rounds, work=work)
        finally:
            results.save(_LAST)  # what was measured before an interruption can still be shown
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return results


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit("bench: ended; servers stopped, data removed")


def main() -> None:
    """Run the bench."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.command is None:
        parser.print_help()
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if arguments.command == "run":
        try:
            results = _measure(arguments)
        except machine.UnfitError as error:
            raise SystemExit(f"bench: {error}") from None
    else:
        results = Results.load(_LAST)
    sys.stdout.write(report.text(results))
    if arguments.write_docs:
        report.write(results, ROOT / "docs")


if __name__ == "__main__":
    main()
