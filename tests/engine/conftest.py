"""Engines on memory adapters, closed after the test and checked for anything left behind."""

from collections.abc import Callable, Iterator

import pytest

from engine.rig import Rig


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def build(**values: object) -> Rig:
        rigs.append(Rig(**values))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()
        assert rig.idle()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()
