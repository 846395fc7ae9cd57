"""Brings a database to the newest revision.

Owns the only use of Alembic; must not be imported by anything that serves. Invariant: all steps from
the old revision to the head are one transaction, so a database has the old tables or the new ones,
however the process ends, and two that migrate at once do it once.
"""

import sqlite3
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tusplyr.ledger.committer import connect, down
from tusplyr.ledger.revisions import WrongRevision, head, known, migrations, revision, unknown


def migrate(path: Path) -> tuple[str | None, str]:
    """Bring a SQLite database to the head, making it if there is none. Blocking; idempotent.

    Returns:
        From which revision, None where there was no database, to which.

    Raises:
        WrongRevision: a newer version of tusplyr made it; nothing was changed.
        NoSpace, LedgerDown: it cannot be opened or changed.
    """
    present = revision(path)
    if present is not None and present not in known():
        raise WrongRevision(unknown(path, present))
    engine = create_engine("sqlite://", creator=partial(connect, path, "rwc"), poolclass=NullPool)
    try:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would begin none for CREATE TABLE
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise down(error.orig) from error
        raise
    finally:
        engine.dispose()
    return present, head()


def configuration() -> Config:
    """Return Alembic's configuration, which needs no file."""
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    return config
