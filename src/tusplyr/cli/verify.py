"""The command that reads every stored byte again.

Owns how the check is shown: a bar on a terminal, a line for each object elsewhere. Must not know how
objects are found or hashed. Invariant: every object that is wrong is named on stdout, and then the exit
code is 1.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from tusplyr.cli.options import need_ledger, with_settings
from tusplyr.settings import STORING, Settings

if TYPE_CHECKING:
    from tusplyr.jobs import Checked


@click.command()
@click.option("--force", is_flag=True, help="Also where the server publishes elsewhere than these settings say.")
@with_settings("data_dir", rules=STORING)
def verify(settings: Settings, force: bool) -> None:
    """Hash the whole store again and compare it with the ledger.

    Reads every byte under store/, or in the bucket, and changes nothing; the server may go on running. Names each
    object in audio/, images/ and files/ that is missing or damaged, or neither known nor named after its own content,
    and exits with 1 if there is any. With STORE=s3 it needs the settings of the server, as "serve" does.
    """
    need_ledger(settings)
    from tusplyr import jobs  # noqa: PLC0415 - imported when it runs, see the package

    if not force and (other := jobs.elsewhere(settings)):
        raise click.ClickException(
            f"The server publishes to {other}, and these settings say {settings.place}: give the command the settings "
            "of the server, or --force."
        )
    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    checks = jobs.verify(settings)
    if on_terminal:
        checks = _with_bar(checks, jobs.stored_bytes(settings))
    count, wrong = 0, 0
    for checked in checks:
        count += 1
        wrong += checked.problem is not None
        if checked.problem is not None or not on_terminal:
            click.echo(f"{checked.key}: {checked.problem or 'ok'}")
    click.echo(f"{count} {'object' if count == 1 else 'objects'} checked, {wrong} wrong", err=wrong > 0)
    if wrong and (former := jobs.former(settings)):
        click.echo(f"The server published to {former} before: what is missing may still be there.", err=True)
    if wrong:
        raise click.exceptions.Exit(1)


def _with_bar(checks: Iterable["Checked"], total: int) -> Iterator["Checked"]:
    from rich.console import Console  # noqa: PLC0415 - the server does not carry rich
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415 - see above

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("verify", total=total)
        for checked in checks:
            bar.advance(task, checked.length)
            yield checked
