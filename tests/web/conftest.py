"""The servers of the web ring: real processes, each started once for all of its tests."""

from collections.abc import Iterator

import pytest

from rig.tus import Client
from web.service import MAX_LENGTH, ORIGIN, PUBLIC, TOKEN, FullService, Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Open to everybody, with a limit; afterwards its log must not tell of an error that nobody expected."""
    with Service(tmp_path_factory.mktemp("open"), MAX_LENGTH=MAX_LENGTH) as server:
        yield server
    log = server.log.read_text()
    assert "failed unexpectedly" not in log
    assert "Traceback" not in log


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Behind a token and a public address, for one origin, without a limit, impatient with silence."""
    folder = tmp_path_factory.mktemp("guarded")
    with Service(folder, AUTH_TOKEN=TOKEN, CORS_ORIGINS=ORIGIN, PUBLIC_URL=PUBLIC, IDLE_TIMEOUT=1) as server:
        yield server


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullService]:
    """On a volume that is down to its reserve, because the reserve is larger than any volume."""
    with FullService(tmp_path_factory.mktemp("full"), RESERVE="4096tib") as server:
        yield server


@pytest.fixture
def tus(service: Service) -> Iterator[Client]:
    """One connection to the open server."""
    with Client(service.port) as client:
        yield client


@pytest.fixture
def other(service: Service) -> Iterator[Client]:
    """Another one."""
    with Client(service.port) as client:
        yield client
