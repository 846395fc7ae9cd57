"""The command that looks whether everything is in order.

Owns how findings are shown: lines for a person, JSON for a program. Must not know what is looked at. Invariant: it
exits with 1 where something does not work, and with 0 otherwise.
"""

import click
import msgspec

from tusplyr.cli.options import with_settings
from tusplyr.core.findings import Verdict
from tusplyr.settings import STORING, Settings

COLORS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of lines.")
@with_settings("data_dir", rules=STORING)
def doctor(settings: Settings, as_json: bool) -> None:
    """Look whether disk, database and bucket are in order.

    Writes to the disk and, with STORE=s3, to the bucket, under a name of its own, and removes it again. Works beside
    a running server and before the first start. Each line says ok, warn or fail, and what to change; exits with 1 if
    there is a fail.
    """
    from tusplyr.doctor import examine  # noqa: PLC0415 - imported when it runs, see the package

    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            label = click.style(f"{finding.verdict:<4}", fg=COLORS[finding.verdict])
            click.echo(f"{label}  {finding.about}: {_plain(finding.text)}")
            if finding.change:
                click.echo(f"      {_plain(finding.change)}")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)))
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise click.exceptions.Exit(1)


def _plain(text: str) -> str:
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)
