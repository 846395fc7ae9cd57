"""The commands of an operator.

Owns what they are called, what they print and how they exit: 0, 1 when something is wrong, 2 when the
command line or the settings are. Must not know how the work is done: each command is a few lines over
`tusplyr.app`, `tusplyr.jobs` and `tusplyr.ledger`, imported only when it runs, so that `serve` carries nothing that it
does not use. Invariant: an error is a clear line on stderr, never a traceback.
"""

import click

from tusplyr import __version__
from tusplyr.cli.doctor import doctor
from tusplyr.cli.options import Commands, need_ledger, told, with_settings
from tusplyr.cli.uploads import uploads
from tusplyr.cli.verify import verify
from tusplyr.durable import make_directory
from tusplyr.settings import LISTENING, STORING, TABLE, Settings


@click.group(cls=Commands, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="tusplyr", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """A resumable upload server that loses nothing it has acknowledged.

    Everything is kept under one directory, ./data unless --data-dir or TUSPLYR_DATA_DIR says otherwise:
    tusplyr.db (what was acknowledged), spool/ (bytes of unfinished uploads), store/ (finished content).

    Settings come from flags, then TUSPLYR_* variables (or TUSPLYR_*_FILE, naming a file that holds the
    value), then tusplyr.toml in the working directory. "tusplyr serve --help" shows all of them.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command()
@with_settings(*(setting.name for setting in TABLE), rules=(*LISTENING, *STORING))
def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT.

    Creates the data directory and brings its database to the newest revision first. Stops within 4 seconds:
    uploads that are coming in are made durable, and clients continue from there after the next start.
    """
    from tusplyr import app  # noqa: PLC0415 - see above: imported when it runs

    with told(app.StartFailed):
        app.serve(settings)


@commands.command()
@click.option("--lock", type=int, hidden=True)  # how "serve" passes on what it holds; see `app.migrating`
@with_settings("data_dir")
def migrate(settings: Settings, lock: int | None) -> None:
    """Bring the database to the newest revision, while no server runs.

    "tusplyr serve" does it by itself when it starts; this is for those who want to see it done before. Make a backup
    first: there is no way back but that. Creates the database when there is none, and changes nothing when it is up
    to date.
    """
    from tusplyr import app  # noqa: PLC0415 - see above: imported when it runs
    from tusplyr.ledger import migrate as ledger  # noqa: PLC0415 - only here is Alembic needed

    make_directory(settings.data_dir, 0o700)
    with told(app.StartFailed), app.migrating(settings, lock):
        before, after = ledger.migrate(settings.database)
    if before is None:
        click.echo(f"{settings.database} was made, at revision {after}.")
    elif before == after:
        click.echo(f"{settings.database} is at revision {after} already.")
    else:
        click.echo(f"{settings.database} was brought from revision {before} to {after}.")


@commands.command()
@with_settings("data_dir", "retain", "expire_after", rules=STORING)
def sweep(settings: Settings) -> None:
    """Clean up once, as the server does on a timer.

    Removes leftovers in the spool, and the rows of uploads that ended longer than RETAIN ago. Where no server runs
    it also ends unfinished uploads that have been idle for EXPIRE_AFTER; a running server does that by its own setting.
    Finished content in store/ is never deleted.
    """
    need_ledger(settings)
    from tusplyr import app, jobs  # noqa: PLC0415 - see above: imported when it runs

    with told(app.StartFailed):
        if other := jobs.elsewhere(settings):
            click.echo(f"The server publishes to {other}, not to {settings.place}: no store is swept.", err=True)
        report = jobs.sweep(settings)
    click.echo(str(report) or "nothing to sweep")


@commands.command("settings-reference", hidden=True)
def settings_reference() -> None:
    """Print the reference of all settings, as kept in docs/settings.md."""
    from tusplyr.settings.reference import reference  # noqa: PLC0415 - see above: imported when it runs

    click.echo(reference(), nl=False)


commands.add_command(doctor)
commands.add_command(uploads)
commands.add_command(verify)


def main() -> None:
    """Run the command line and exit."""
    commands(prog_name="tusplyr")
