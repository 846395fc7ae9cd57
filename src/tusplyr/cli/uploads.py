"""The commands that look at uploads and end them.

Owns how an upload is shown to a person (a table on a terminal, tabs elsewhere) and to a program (JSON).
Must not know SQL or how an upload is ended. Invariant: what clients sent is never written to a terminal
raw.
"""

import sys
from datetime import UTC, datetime

import click
import msgspec

from tusplyr.cli.options import need_ledger, told, with_settings
from tusplyr.core.lifecycle import WAITING
from tusplyr.core.model import Status, Upload
from tusplyr.settings import Settings

Facts = dict[str, str | int | None]

COLUMNS = ("id", "kind", "status", "offset", "length", "updated_at", "key", "attempts", "error")


@click.group(invoke_without_command=True)
@click.pass_context
def uploads(context: click.Context) -> None:
    """List, show, retry and terminate uploads."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@uploads.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only uploads in this status.")
@click.option("--stuck", is_flag=True, help="Only uploads whose publishing has failed often.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@with_settings("data_dir")
def list_(settings: Settings, status: str | None, stuck: bool, limit: int, as_json: bool) -> None:
    """List uploads, the newest creation first.

    receiving: bytes are still missing, or it is a partial upload, complete or not. assembling: the bytes of a
    final upload are being brought together. received: all bytes are here, publishing is under way or failing, as
    "attempts" and "error" say; "(stuck)" behind it: it has failed 10 times or more, and is still tried. stored:
    published under its key. gone: terminated, expired, invalid (not the digest that was declared) or lost; "show" has
    the reason.

    On a terminal a table with its columns named, and "error" only where there is one; elsewhere a line for each upload,
    with tabs: id, kind, status, offset, length, updated_at, key, attempts, error. Sizes are bytes, times are UTC.
    """
    need_ledger(settings)
    from tusplyr.ledger.listing import list_uploads  # noqa: PLC0415 - imported when it runs, see the package

    chosen = Status(status) if status else None
    found = list_uploads(settings.database, status=chosen, stuck=stuck, limit=limit + 1)
    rows = [_facts(row) for row in found[:limit]]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            click.echo("\t".join(_cells(row)))
    if len(found) > limit:
        click.echo(f"{limit} shown; more with --limit", err=True)


@uploads.command()
@click.argument("upload_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@with_settings("data_dir")
def show(settings: Settings, upload_id: str, as_json: bool) -> None:
    """Show everything that is known of one upload.

    Not when it expires: that depends on EXPIRE_AFTER as the running server has it, which this command does not know.
    The server says it at <address of the upload>/status.
    """
    need_ledger(settings)
    from tusplyr.ledger.listing import find  # noqa: PLC0415 - imported when it runs, see the package

    upload = find(settings.database, upload_id)
    if upload is None:
        raise click.ClickException(f"There is no upload {_plain(upload_id)}.")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_facts(upload))))
        return
    for name, value in _facts(upload).items():
        click.echo(f"{name:<12}{_plain(value)}")


@uploads.command()
@click.argument("upload_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All that wait to be published.")
@with_settings("data_dir")
def retry(settings: Settings, upload_ids: tuple[str, ...], every: bool) -> None:
    """Have uploads published now instead of when their next attempt is due.

    For when what was wrong has been put right. A running server begins within seconds; otherwise it does when it is
    started. Goes on after an ID that does not wait to be published, and exits with 1 in the end.
    """
    if bool(upload_ids) is every:
        raise click.UsageError("Name uploads, or give --all.")
    need_ledger(settings)
    from tusplyr import app, jobs  # noqa: PLC0415 - imported when it runs, see the package

    wrong = 0
    with told(app.StartFailed):
        outcomes = list(jobs.retry(settings, upload_ids))
    if not outcomes:
        click.echo("Nothing waits to be published.")
    for upload_id, instead in outcomes:
        if not instead:
            click.echo(f"{_plain(upload_id)} is due now")
        elif not every:  # of all, one may have been published meanwhile
            wrong += 1
            unknown = instead == jobs.UNKNOWN
            text = "There is no upload {}." if unknown else "{} is {}: there is nothing to retry."
            click.echo(f"Error: {text.format(_plain(upload_id), instead)}", err=True)
    if wrong:
        raise click.exceptions.Exit(1)


@uploads.command()
@click.argument("upload_ids", metavar="ID...", nargs=-1, required=True)
@with_settings("data_dir")
def terminate(settings: Settings, upload_ids: tuple[str, ...]) -> None:
    """End uploads and free their bytes; what is already stored stays in the store.

    Works while the server runs. Goes on after an ID that does not exist, and exits with 1 in the end.
    """
    need_ledger(settings)
    from tusplyr import app, jobs  # noqa: PLC0415 - imported when it runs, see the package

    missing = 0
    for upload_id in upload_ids:
        with told(app.StartFailed):
            ended = jobs.terminate(settings, upload_id)
        if ended:
            click.echo(f"{_plain(upload_id)} terminated")
        else:
            missing += 1
            click.echo(f"Error: There is no upload {_plain(upload_id)}.", err=True)
    if missing:
        raise click.exceptions.Exit(1)


def _cells(facts: Facts) -> list[str]:
    shown = facts | {"status": f"{facts['status']} (stuck)"} if facts["stuck"] else facts
    return [_plain(shown[column]) for column in COLUMNS]


def _facts(upload: Upload) -> Facts:
    return {
        "id": upload.id,
        "status": upload.status.value,
        "offset": upload.offset,
        "length": upload.length,
        "created_at": _utc(upload.created_at),
        "updated_at": _utc(upload.updated_at),
        "file_id": upload.file_id,
        "sha256": upload.sha256,
        "media_type": upload.media.media_type,
        "key": upload.key,
        "metadata": None if upload.metadata is None else upload.metadata.decode("latin-1"),
        "attempts": upload.attempts,
        "stuck": upload.stuck,
        "due_at": _utc(upload.due_at) if upload.status in WAITING else None,
        "error": upload.error,
        "reason": upload.reason and upload.reason.value,
        "kind": upload.kind.value,
        "partials": " ".join(upload.partials) or None,
        "declared": upload.declared,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: str | int | None) -> str:
    if value is None:
        return "-"
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(value))


def _print_table(rows: list[Facts]) -> None:
    from rich.console import Console  # noqa: PLC0415 - the server does not carry rich
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    count = len(COLUMNS) if any(row["error"] for row in rows) else len(COLUMNS) - 1
    table = Table(*COLUMNS[:count], box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, _cells(row)[:count]))
    Console().print(table)
