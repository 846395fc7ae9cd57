"""Buckets for the contract of a store: the same tests over servers that are not alike."""

from collections.abc import Iterator

import pytest

from rig import buckets, versity
from rig.buckets import Bucket, Fresh
from rig.need import need


@pytest.fixture(scope="session")
def moto() -> Iterator[Fresh]:
    with buckets.moto() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    need(versity.BINARY.exists(), versity.MISSING)
    with versity.Versity(tmp_path_factory.mktemp("versity")) as running:
        yield running.fresh


@pytest.fixture(params=["moto", "r2", pytest.param("versitygw", marks=pytest.mark.e2e)])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """An empty bucket: in moto, in our double of R2 (with small parts, over TLS) and, in the ring e2e, in versitygw."""
    if request.param == "r2":
        with buckets.r2(part_minimum=64 * 1024) as place:
            yield place
    else:
        yield request.getfixturevalue(request.param)()
