"""The composition root: settings in, a running server out.

Owns every choice of an implementation; the only file that sees every room. Must not hold a rule of its own.
Invariant: nothing is opened when this module is imported, and whatever was opened is closed in reverse order.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import uvloop
from litestar import Request
from msgspec import Struct
from prometheus_client import CollectorRegistry

from tusplyr import logs
from tusplyr.core.commands import Head
from tusplyr.core.decide import Limits
from tusplyr.core.digest import best_provider
from tusplyr.core.errors import LedgerDown, NoSpace, ShuttingDown
from tusplyr.core.headers import parse_headers
from tusplyr.core.model import FAILING_AFTER, STUCK_AFTER
from tusplyr.data_dir import StartFailed, locked, make_directories, migrate
from tusplyr.durable import free_bytes
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.claims import LocalClaims
from tusplyr.engine.concatenate import Concatenation
from tusplyr.engine.endings import Endings
from tusplyr.engine.engine import Engine, Means
from tusplyr.engine.handover import Handover
from tusplyr.engine.intake import Intake, Pace
from tusplyr.engine.offload import Offload
from tusplyr.engine.overlap import Overlap
from tusplyr.engine.publish import Publisher
from tusplyr.engine.setbacks import Setbacks
from tusplyr.engine.sweep import Sweeper
from tusplyr.engine.tally import Tally
from tusplyr.engine.worker import Worker
from tusplyr.ledger.journal import LedgerJournal
from tusplyr.ledger.sql import SqlLedger
from tusplyr.ports import Journal, Shipper, Store
from tusplyr.settings import Settings
from tusplyr.spool.disk import DiskSpool
from tusplyr.stores.filesystem import FilesystemStore
from tusplyr.stores.s3_options import S3Options
from tusplyr.web import local, ops, server, try_it, uploads
from tusplyr.web.application import build
from tusplyr.web.body import Bodies
from tusplyr.web.edge import App
from tusplyr.web.forwarded import Proxies
from tusplyr.web.pool import Pool

log = logging.getLogger(__name__)

MOVED = (
    "content is published to %s from now on; what was published to %s is still there, and GET of it answers 410 until "
    "it is copied: see %s"
)
MOVING = "'To another store' in docs/operations.md"
LAST_WORD = 3.7  # seconds after a signal at which the process ends whatever a bucket does; platforms kill after 5


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
        make_directories(settings)
        lock = stack.enter_context(locked(settings.data_dir))
        migrate(settings, lock)
        listener = stack.enter_context(_listening(settings))
        uvloop.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with wired_up(settings, limits_of(settings)) as wired:
        if former := await wired.ledger.settle(settings.place):
            log.warning(MOVED, settings.place, former, MOVING)
        # No request is under way yet: nothing needs to be spared. A bucket that is away does not hold up the start.
        await wired.sweeper.sweep(grace=0.0, everywhere=False)
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
        if settings.store_kind == "s3":  # nobody waits for it: uploads are taken even where it is away
            threading.Thread(target=_look_at_buckets, args=(settings,), name="buckets", daemon=True).start()
        gc.collect()
        gc.freeze()  # what is here now stays for good: the collector need not look at it again
        try:
            await server.serve(app, listener, partial(_stop, settings, wired))
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await wired.assembler.rest()
            log.info("stopped")


def _stop(settings: Settings, wired: Wired) -> None:
    wired.engine.stop(ShuttingDown())
    if settings.store_kind == "s3":
        timer = threading.Timer(LAST_WORD, _end)
        timer.daemon = True
        timer.start()


def _end() -> None:
    """End the process as a kill would, which loses nothing: a bucket that says nothing may keep us waiting too long."""
    log.warning("a request to the bucket did not end in time; it is made again after the next start")
    log.info("stopped")
    os._exit(0)


def _look_at_buckets(settings: Settings) -> None:
    from tusplyr.stores.s3_reach import reach  # noqa: PLC0415 - an extra

    for problem in reach(s3_options(settings)):
        log.error("%s; uploads are taken, and wait until that is mended: see tusplyr doctor", problem)


def _application(settings: Settings, wired: Wired, pool: Pool) -> App:
    proxies = Proxies(settings.trusted_proxies, local=settings.socket is not None)
    site = uploads.Site(settings.base_path, settings.public_url, settings.auth_token, proxies)
    bodies = Bodies(pool, settings.idle_timeout, settings.direct_body, wired.tally)
    registry = CollectorRegistry()
    registry.register(ops.TallyCollector(wired.tally, pool))
    health = ops.Health(_checks(settings, wired), {"publishing": partial(_failing, wired)}, partial(_measure, wired))
    page = try_it.routes(settings.base_path, settings.public_url, asks=bool(settings.auth_token))
    return build(
        [
            *uploads.routes(wired.engine, bodies, site),
            *ops.routes(health, registry, _admit(site)),
            *(page if settings.has_page else ()),
        ],
        base_path=settings.base_path,
        limits=limits_of(settings),
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
        if free >= settings.reserve:
            return None
        return f"only {free} bytes are free, less than RESERVE ({settings.reserve}); new uploads are refused"

    return {"ledger": ledger, "space": space}


async def _measure(wired: Wired) -> None:
    """Bring the tally up to date; where the ledger does not answer it stays as it was."""
    with suppress(LedgerDown):
        backlog = await wired.ledger.backlog()
        wired.tally.waiting = backlog.waiting
        wired.tally.failing, wired.tally.stuck = backlog.failing, backlog.stuck


async def _failing(wired: Wired) -> str | None:
    await _measure(wired)
    for count, times in ((wired.tally.stuck, STUCK_AFTER), (wired.tally.failing, FAILING_AFTER)):
        if count:
            uploads = f"{count} {'upload' if count == 1 else 'uploads'}"
            return f"{uploads} could not be published or assembled {times} times or more; it is tried again"
    return None


class Parts(Struct, frozen=True):
    """What everything that runs is made of.

    Attributes:
        offload: threads for the disk.
        transfers: threads that publish.
        reading: threads that read from the store. Both are the first where the store is on the disk, too.
    """

    settings: Settings
    limits: Limits
    ledger: SqlLedger
    spool: DiskSpool
    store: Store
    offload: Offload
    transfers: Offload
    reading: Offload
    claims: LocalClaims
    tally: Tally
    handover: Handover
    setbacks: Setbacks
    endings: Endings


@asynccontextmanager
async def wired_up(settings: Settings, limits: Limits) -> AsyncIterator[Wired]:
    """Put everything together, for the length of a block. Raises as what it opens."""
    async with AsyncExitStack() as stack:
        parts = await _parts(settings, limits, stack)
        overlap = _overlap(parts, stack)
        publisher = _publisher(parts, overlap)
        pace = Pace(settings.checkpoint_bytes, settings.checkpoint_seconds)
        intake = Intake(parts.ledger, publisher, parts.offload, pace)
        assembler = _assembler(parts, intake)
        worker = Worker(
            ledger=parts.ledger,
            queue=parts.ledger,
            claims=parts.claims,
            publisher=publisher,
            setbacks=parts.setbacks,
            assembler=assembler,
            slots=settings.publish_slots,
        )
        engine = _engine(parts, intake, publisher, assembler)
        yield Wired(engine, worker, assembler, _sweeper(parts), parts.ledger, parts.tally)


async def _parts(settings: Settings, limits: Limits, stack: AsyncExitStack) -> Parts:
    ledger = await SqlLedger.open(settings.database)
    stack.push_async_callback(ledger.close)
    store = await asyncio.to_thread(chosen_store, settings, LedgerJournal(ledger))
    stack.callback(store.close)
    offload = transfers = reading = _threads(settings.threads, stack)
    if not store.prompt:  # what waits for a bucket must not keep the disk waiting
        slots = settings.publish_slots * len(settings.buckets)
        transfers, reading = _threads(slots, stack), _threads(settings.threads, stack)
    spool = DiskSpool(settings.spool, reserve=settings.reserve)
    tally, handover = Tally(), Handover(settings.wait_for_stored)
    return Parts(
        settings=settings,
        limits=limits,
        ledger=ledger,
        spool=spool,
        store=store,
        offload=offload,
        transfers=transfers,
        reading=reading,
        claims=LocalClaims(settings.takeover_timeout),
        tally=tally,
        handover=handover,
        setbacks=Setbacks(ledger, tally),
        endings=Endings(ledger, spool, offload, tally, handover),
    )


def _threads(count: int, stack: AsyncExitStack) -> Offload:
    offload = Offload(count)
    stack.callback(offload.close)
    return offload


def _overlap(parts: Parts, stack: AsyncExitStack) -> Overlap | None:
    if not isinstance(parts.store, Shipper) or not parts.settings.overlap:
        return None
    overlap = Overlap(
        shipper=parts.store,
        ledger=parts.ledger,
        spool=parts.spool,
        offload=_threads(parts.settings.publish_slots, stack),
        setbacks=parts.setbacks,
    )
    stack.push_async_callback(overlap.rest)
    return overlap


def _publisher(parts: Parts, overlap: Overlap | None) -> Publisher:
    return Publisher(
        ledger=parts.ledger,
        spool=parts.spool,
        store=parts.store,
        offload=parts.offload,
        transfers=parts.transfers,
        tally=parts.tally,
        handover=parts.handover,
        setbacks=parts.setbacks,
        endings=parts.endings,
        overlap=overlap,
    )


def _assembler(parts: Parts, intake: Intake) -> Assembler:
    return Assembler(
        ledger=parts.ledger,
        spool=parts.spool,
        claims=parts.claims,
        offload=parts.offload,
        intake=intake,
        provider=best_provider(),
        setbacks=parts.setbacks,
        endings=parts.endings,
    )


def _sweeper(parts: Parts) -> Sweeper:
    return Sweeper(
        ledger=parts.ledger,
        spool=parts.spool,
        store=parts.store,
        claims=parts.claims,
        offload=parts.offload,
        reading=parts.reading,
        tally=parts.tally,
        retain=parts.settings.retain,
        expire_after=parts.limits.expire_after,
    )


def _engine(parts: Parts, intake: Intake, publisher: Publisher, assembler: Assembler) -> Engine:
    concatenation = Concatenation(
        ledger=parts.ledger,
        spool=parts.spool,
        offload=parts.offload,
        assembler=assembler,
        limits=parts.limits,
        tally=parts.tally,
    )
    means = Means(
        ledger=parts.ledger,
        spool=parts.spool,
        store=parts.store,
        reading=parts.reading,
        claims=parts.claims,
        offload=parts.offload,
        intake=intake,
        publisher=publisher,
        endings=parts.endings,
        concatenation=concatenation,
        provider=best_provider(),
        limits=parts.limits,
        tally=parts.tally,
        redirect=parts.settings.downloads == "redirect",
    )
    return Engine(means)


def chosen_store(settings: Settings, journal: Journal) -> Store:
    """Return the store that was chosen. Blocking: boto3 reads files when it is imported."""
    if settings.store_kind == "filesystem":
        return FilesystemStore(settings.store)
    with boto3_needed():
        from tusplyr.stores.s3 import S3Store  # noqa: PLC0415 - an extra
    return S3Store(s3_options(settings), journal)


@contextmanager
def boto3_needed() -> Iterator[None]:
    """Turn an import that fails, of what is not ours, into `StartFailed`: boto3 or something that it needs."""
    try:
        yield
    except ImportError as error:
        if error.name and error.name.startswith("tusplyr"):
            raise
        raise StartFailed(f"STORE is s3, which needs boto3: {error}; pip install 'boto3>=1.44'.") from error


def s3_options(settings: Settings) -> S3Options:
    """Return what an S3 store has to be told."""
    buckets = {folder: bucket for folder, bucket in settings.buckets.items() if bucket}
    return S3Options(
        buckets=buckets,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        prefix=settings.s3_prefix,
        storage_class=settings.s3_storage_class,
        addressing=settings.s3_addressing,
        access_key=settings.s3_access_key_id,
        secret_key=settings.s3_secret_access_key,
        part_size=settings.s3_part_size,
        single_put_limit=settings.s3_put_limit,
        concurrency=settings.s3_concurrency,
        timeout=settings.s3_timeout,
        public_urls=settings.public_urls,
        presign_seconds=int(settings.s3_presign),
    )


def _look(spool: Path) -> int:
    """Return the bytes that are free. Raises OSError where there is no directory that can be read."""
    os.scandir(spool).close()
    return free_bytes(spool)


def limits_of(settings: Settings) -> Limits:
    """Return what these settings allow."""
    return Limits(settings.max_length, settings.expire_after or None, forget=settings.gone_as_not_found)


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
            reason = (error.strerror or str(error)).partition(" (while")[0]  # where to is said already
            raise StartFailed(f"Cannot listen on {place}: {reason}.") from error
        yield listener


def _address(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"http://unix:{listener.getsockname()}:"  # as nginx spells it
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
