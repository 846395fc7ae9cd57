"""The data directory: made, held by one server, its database brought to the newest revision.

Owns the lock. Must not know what is kept there, beside the revision of the database. Invariant: whoever changes the
tables holds the directory, and nobody else is running on it.
"""

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tusplyr.core.errors import LedgerDown, TusplyrError
from tusplyr.durable import make_directory
from tusplyr.ledger import revisions
from tusplyr.ledger.committer import tighten
from tusplyr.settings import PREFIX, Settings

log = logging.getLogger(__name__)


class StartFailed(TusplyrError):
    """The server or a command cannot start; the text is one line for the operator."""


class InUse(StartFailed):
    """Another process holds the data directory."""


def make_directories(settings: Settings) -> None:
    """Make the data directory and what is in it; `StartFailed` where that cannot be, or it cannot be written to."""
    try:
        make_directory(
            settings.data_dir, 0o700
        )  # ids of uploads are secrets; whoever shall read the store is let in by hand
        make_directory(settings.spool, 0o700)
        make_directory(settings.store, 0o755)
        if not os.access(settings.spool, os.W_OK) or not os.access(settings.data_dir, os.W_OK):
            raise PermissionError(f"no permission to write into {settings.data_dir}")
    except FileExistsError as error:
        raise StartFailed(
            f"The data directory {settings.data_dir} cannot be used: {error.filename} is a file."
        ) from error
    except OSError as error:
        raise StartFailed(
            f"The data directory {settings.data_dir} cannot be used: {error.strerror or error}."
        ) from error


@contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Hold the data directory: one server at a time. Yields the descriptor that holds it."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartFailed(f"The data directory {data_dir} cannot be used: {error.strerror}.") from error
    try:
        _take(descriptor, data_dir)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, data_dir: Path) -> None:
    """Take the lock by a descriptor, or find that it holds it; whoever inherited one shares what it holds."""
    try:
        if not os.path.samestat(os.fstat(descriptor), (data_dir / "lock").stat()):
            raise InUse(f"Descriptor {descriptor} is not the lock of {data_dir}.")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(f"Another server is running on {data_dir}; one at a time.") from error


def migrate(settings: Settings, lock: int) -> None:
    """Bring the database to the head, in another process: Alembic is not needed afterwards."""
    try:
        tighten(settings.database)
        before, needed = revisions.revision(settings.database), revisions.head()
    except (LedgerDown, OSError) as error:
        raise StartFailed(str(error)) from error
    if before == needed:
        return
    # -P: no module of the folder in which the server was started.
    command = [sys.executable, "-P", "-m", "tusplyr", "migrate", "--config", os.devnull]
    command += ["--data-dir", str(settings.data_dir), "--lock", str(lock)]
    # What counts is in `settings`; the environment may say otherwise.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(command, env=environ, pass_fds=[lock], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["The database could not be migrated."]
        raise StartFailed(said[-1].removeprefix("Error: "))
    if before is not None:
        log.info("database brought from revision %s to %s", before, needed)


@contextmanager
def migrating(settings: Settings, lock: int | None) -> Iterator[None]:
    """Hold the data directory while its database is migrated: no server runs but the one that may have asked for it.

    Args:
        settings: where that is.
        lock: the descriptor by which that server holds it, inherited from it; None: it is to be taken.

    Raises:
        StartFailed: a server is running there.
    """
    with ExitStack() as stack:
        try:
            if lock is None:
                stack.enter_context(locked(settings.data_dir))
            else:
                _take(lock, settings.data_dir)
        except InUse as error:
            place = settings.data_dir
            raise StartFailed(f"A server is running on {place}; stop it, make a backup, then migrate.") from error
        yield
