"""The composition root: settings in, a running server or a finished command out.

Owns every choice of an implementation; the only file that sees every room. Must not hold a rule of its own.
Invariant: nothing is opened when this module is imported, and whatever was opened is closed in reverse order.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import uvloop
from litestar import Request
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tusplyr import logs
from tusplyr.core.commands import Head
from tusplyr.core.decide import Limits
from tusplyr.core.digest import best_provider, hash_file_chunked
from tusplyr.core.errors import LedgerDown, NoSpace, NotFound, ShuttingDown, StoreDown, TusplyrError
from tusplyr.core.headers import parse_headers
from tusplyr.core.model import Content
from tusplyr.durable import free_bytes, make_directory
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.claims import LocalClaims
from tusplyr.engine.concatenate import Concatenation
from tusplyr.engine.engine import Engine, Means
from tusplyr.engine.intake import Intake, Pace
from tusplyr.engine.offload import Offload, Result
from tusplyr.engine.publish import Publisher
from tusplyr.engine.sweep import Sweeper, SweepReport
from tusplyr.engine.tally import Tally
from tusplyr.engine.worker import Worker
from tusplyr.ledger import revisions
from tusplyr.ledger.listing import list_contents
from tusplyr.ledger.sql import SqlLedger
from tusplyr.settings import PREFIX, Settings
from tusplyr.spool.disk import DiskSpool
from tusplyr.stores.filesystem import FilesystemStore
from tusplyr.web import local, ops, server, try_it, uploads
from tusplyr.web.application import build
from tusplyr.web.body import Bodies
from tusplyr.web.edge import App
from tusplyr.web.forwarded import Proxies
from tusplyr.web.pool import Pool

log = logging.getLogger(__name__)


class StartFailed(TusplyrError):
    """The server or a command cannot start; the text is one line for the operator."""


class Checked(Struct, frozen=True):
    """One content key after a check. `problem` is None when all is well."""

    key: str
    length: int
    problem: str | None


class Wired(Struct, frozen=True):
    """Everything that runs, put together."""

    engine: Engine
    worker: Worker
    assembler: Assembler
    sweeper: Sweeper
    ledger: SqlLedger
    tally: Tally


def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT. Blocking.

    Raises:
        StartFailed: the data directory cannot be written or is another server's, the port is in use, or the
            database is newer than this version.
    """
    logs.configure(settings)
    with ExitStack() as stack:
        _make_directories(settings)
        stack.enter_context(_locked(settings.data_dir))
        _migrate(settings)
        listener = stack.enter_context(_listening(settings))
        uvloop.run(_serve(settings, listener))


def sweep(settings: Settings) -> SweepReport:
    """Sweep once. Blocking; safe beside a running server, more thorough without one.

    Raises:
        StartFailed: the data directory is not there or cannot be used.
    """

    async def run() -> SweepReport:
        # A running server may have promised another time than this command was told of, and expires by itself.
        limits = _limits(settings) if alone else replace(_limits(settings), expire_after=None)
        async with _wired(settings, limits) as wired:
            return await (wired.sweeper.sweep(grace=0.0) if alone else wired.sweeper.sweep())

    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(settings.data_dir))
            alone = True
        except StartFailed:
            alone = False
        return _run(run)


def terminate(settings: Settings, upload_id: str) -> bool:
    """End an upload, as a DELETE would. Blocking; safe beside a running server. False when there is none.

    Raises:
        StartFailed: the data directory is not there or cannot be used.
    """

    async def run() -> bool:
        # Whether it has expired is the server's to say: here it is to be ended in any case.
        async with _wired(settings, replace(_limits(settings), expire_after=None)) as wired:
            try:
                await wired.engine.terminate(upload_id)
            except NotFound:
                return False
            return True

    return _run(run)


def verify(settings: Settings) -> Iterator[Checked]:
    """Read every object of the store and compare it with the ledger, then look for what is missing. Blocking."""
    known = {content.key: content for content in list_contents(settings.database)}
    store = FilesystemStore(settings.store)
    for key in store.keys():  # noqa: SIM118 - not a dict
        yield _check(store, key, known.pop(key, None))
    for content in known.values():
        yield Checked(content.key, content.length, "is in the ledger, but not in the store")


def stored_bytes(settings: Settings) -> int:
    """Return how many bytes `verify` will read."""
    store = FilesystemStore(settings.store)
    return sum(store.stat(key) or 0 for key in store.keys())  # noqa: SIM118 - not a dict


def _check(store: FilesystemStore, key: str, content: Content | None) -> Checked:
    try:
        file = store.open(key)
    except StoreDown as error:
        return Checked(key, 0, f"cannot be read: {error}")
    if file is None:
        return Checked(key, 0, "vanished while it was being checked")
    with file:
        length = os.fstat(file.fileno()).st_size
        sha256 = hash_file_chunked(file)
    named = Path(key).name.partition(".")[0]
    if content is None and sha256[:16] == named:
        return Checked(key, length, None)  # published, and the row was not written yet or the ledger is a new one
    if content is None:
        return Checked(key, length, f"is not in the ledger, and its content ({sha256}) does not belong to its name")
    if (content.sha256, content.length) != (sha256, length):
        return Checked(key, length, f"has other content ({sha256}) than was received ({content.sha256})")
    return Checked(key, length, None)


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with _wired(settings, _limits(settings)) as wired:
        await wired.sweeper.sweep(grace=0.0)  # no request is under way yet: nothing needs to be spared
        pool = Pool(settings.buffers)
        app = _application(settings, wired, pool)
        loops = [
            asyncio.create_task(wired.worker.run()),
            asyncio.create_task(wired.sweeper.run(settings.sweep_interval)),
        ]
        address = _address(listener)
        log.info("listening on %s%s, data in %s", address, settings.base_path, settings.data_dir)
        if settings.has_page and not settings.socket:
            log.info("to try it, open %s/ in a browser", address)
        gc.collect()
        gc.freeze()  # what is here now stays for good: the collector need not look at it again
        try:
            await server.serve(app, listener, lambda: wired.engine.stop(ShuttingDown()))
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await wired.assembler.rest()
            log.info("stopped")


def _application(settings: Settings, wired: Wired, pool: Pool) -> App:
    proxies = Proxies(settings.trusted_proxies, local=settings.socket is not None)
    site = uploads.Site(settings.base_path, settings.public_url, settings.auth_token, proxies)
    bodies = Bodies(pool, settings.idle_timeout, settings.direct_body, wired.tally)
    registry = CollectorRegistry()
    registry.register(ops.TallyCollector(wired.tally, pool))
    page = try_it.routes(settings.base_path, settings.public_url, asks=bool(settings.auth_token))
    return build(
        [
            *uploads.routes(wired.engine, bodies, site),
            *ops.routes(_checks(settings, wired), registry, _admit(site)),
            *(page if settings.has_page else ()),
        ],
        base_path=settings.base_path,
        limits=_limits(settings),
        origins=settings.cors_origins,
    )


def _admit(site: uploads.Site) -> ops.Admit:
    def admit(request: Request[object, object, object]) -> None:  # type: ignore[type-var]  # only its headers matter
        site.admit(Head(request.method, parse_headers(request.scope["headers"])))

    return admit


def _checks(settings: Settings, wired: Wired) -> dict[str, ops.Check]:
    async def ledger() -> str | None:
        try:
            await wired.ledger.check()
        except (LedgerDown, NoSpace) as error:
            log.warning("the ledger does not answer: %s", error)
            return "the ledger does not answer"
        return None

    async def space() -> str | None:
        try:
            free = await asyncio.to_thread(_look, settings.spool)
        except OSError as error:
            log.warning("the spool cannot be used: %s", error)
            return "the spool cannot be used"
        return None if free >= settings.reserve else f"only {free} bytes are free; new uploads are refused"

    return {"ledger": ledger, "space": space}


@asynccontextmanager
async def _wired(settings: Settings, limits: Limits) -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        ledger = await SqlLedger.open(settings.database)
        stack.push_async_callback(ledger.close)
        offload = Offload(settings.threads)
        stack.callback(offload.close)
        spool = DiskSpool(settings.spool, reserve=settings.reserve)
        store = FilesystemStore(settings.store)
        claims = LocalClaims(settings.takeover_timeout)
        tally = Tally()
        publisher = Publisher(ledger=ledger, queue=ledger, spool=spool, store=store, offload=offload, tally=tally)
        provider = best_provider()
        intake = Intake(ledger, publisher, offload, Pace(settings.checkpoint_bytes, settings.checkpoint_seconds))
        assembler = Assembler(
            ledger=ledger,
            queue=ledger,
            spool=spool,
            claims=claims,
            offload=offload,
            intake=intake,
            provider=provider,
            tally=tally,
        )
        sweeper = Sweeper(
            ledger=ledger,
            spool=spool,
            store=store,
            claims=claims,
            offload=offload,
            tally=tally,
            retain=settings.retain,
            expire_after=limits.expire_after,
        )
        concatenation = Concatenation(
            ledger=ledger, spool=spool, offload=offload, assembler=assembler, limits=limits, tally=tally
        )
        means = Means(
            ledger=ledger,
            spool=spool,
            store=store,
            claims=claims,
            offload=offload,
            intake=intake,
            publisher=publisher,
            concatenation=concatenation,
            provider=provider,
            limits=limits,
            tally=tally,
        )
        worker = Worker(ledger=ledger, queue=ledger, claims=claims, publisher=publisher, assembler=assembler)
        yield Wired(Engine(means), worker, assembler, sweeper, ledger, tally)


def _look(spool: Path) -> int:
    """Return the bytes that are free. Raises OSError where there is no directory that can be read."""
    os.scandir(spool).close()
    return free_bytes(spool)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_length, settings.expire_after or None, forget=settings.gone_as_not_found)


def _run(work: Callable[[], Coroutine[None, None, Result]]) -> Result:
    try:
        return asyncio.run(work())
    except TusplyrError as error:
        raise StartFailed(str(error) or error.code) from error


def _make_directories(settings: Settings) -> None:
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
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: one server at a time."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartFailed(f"The data directory {data_dir} cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StartFailed(f"Another server is running on {data_dir}; one at a time.") from error
    else:
        yield
    finally:
        os.close(descriptor)


def _migrate(settings: Settings) -> None:
    """Bring the database to the head, in another process: Alembic is not needed afterwards."""
    try:
        if revisions.revision(settings.database) == revisions.head():
            return
    except LedgerDown as error:
        raise StartFailed(str(error)) from error
    command = [sys.executable, "-m", "tusplyr", "migrate", "--config", os.devnull, "--data-dir", str(settings.data_dir)]
    # What counts is in `settings`; the environment may say otherwise.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["The database could not be migrated."]
        raise StartFailed(said[-1].removeprefix("Error: "))


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    with ExitStack() as stack:
        try:
            if settings.socket:
                listener = stack.enter_context(local.listen(settings.socket))
            else:
                listener = stack.enter_context(contextlib.closing(server.listen(settings.host, settings.port)))
        except OSError as error:
            place = settings.socket or f"{settings.host}:{settings.port}"
            raise StartFailed(f"Cannot listen on {place}: {error.strerror or error}.") from error
        yield listener


def _address(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"http://unix:{listener.getsockname()}:"  # as nginx spells it
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
