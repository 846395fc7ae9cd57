"""Which revision a database has, and which one this package needs, told without Alembic.

Owns where the migrations are and how their names are read: ``0001_uploads.py`` is revision ``0001``,
and the highest is the head. Must not import Alembic or SQLAlchemy: the server asks here whether it
has to migrate at all. Invariant: looking never creates or changes a database.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from tusplyr.core.errors import LedgerDown


class WrongRevision(LedgerDown):
    """The tables of the database are not the ones that this version of tusplyr works with."""

    code = "wrong_revision"


def migrations() -> Path:
    """Return the directory of the migrations: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parents[1] / "migrations"


def known() -> list[str]:
    """Return the revisions that this package ships, oldest first."""
    return sorted(file.name.partition("_")[0] for file in (migrations() / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the revision that this package works with."""
    return known()[-1]


def revision(path: Path) -> str | None:
    """Return the revision of a database; None when it does not exist or has no tables of ours. Blocking.

    Raises:
        LedgerDown: it cannot be read, or is no database.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            ours = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if ours else None
    except sqlite3.Error as error:
        raise LedgerDown(f"{path} cannot be read as a database: {error}") from error
    return str(row[0]) if row else None


def require_head(path: Path) -> None:
    """Return if the database is at the head. Blocking.

    Raises:
        WrongRevision: it is not; the text says what to do.
        LedgerDown: it cannot be read.
    """
    present, needed = revision(path), head()
    if present == needed:
        return
    if present is None or present in known():
        state = f"is at revision {present}" if present else "does not exist or is empty"
        raise WrongRevision(
            f"{path} {state}; revision {needed} is needed: it is brought there when the new `tusplyr serve` starts"
            " (make a backup first), or by `tusplyr migrate` while no server runs."
        )
    raise WrongRevision(unknown(path, present))


def unknown(path: Path, present: str) -> str:
    """Return what to tell about a database of a version that is not ours."""
    return (
        f"{path} is at revision {present}, which is newer than this version of tusplyr knows (up to {head()}): "
        "run the newer version, or restore the backup that was made before it."
    )
