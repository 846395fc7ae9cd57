"""The one table of statuses."""

import itertools

import pytest

from tusplyr.core.lifecycle import TRANSITIONS, sources
from tusplyr.core.model import Reason, Status

RECEIVING, ASSEMBLING, RECEIVED, STORED, GONE = Status
ALLOWED = {
    (RECEIVED, None): {RECEIVING, ASSEMBLING},
    (STORED, None): {RECEIVING, ASSEMBLING, RECEIVED},
    (GONE, Reason.TERMINATED): {RECEIVING, ASSEMBLING, RECEIVED, STORED},
    (GONE, Reason.EXPIRED): {RECEIVING},
    (GONE, Reason.INVALID): {RECEIVING, ASSEMBLING},
    (GONE, Reason.LOST): {RECEIVING, ASSEMBLING, RECEIVED},
}


@pytest.mark.parametrize(("target", "reason"), [*itertools.product(Status, (None, *Reason))])
def test_what_may_follow_what(target, reason):
    assert sources(target, reason) == ALLOWED.get((target, reason), set())


def test_nothing_follows_gone_and_nothing_returns():
    order = list(Status)
    assert all(order.index(start) < order.index(end) for start, end in TRANSITIONS)


def test_a_reason_belongs_to_gone_alone():
    assert all((None in reasons) is (end is not GONE) for (_, end), reasons in TRANSITIONS.items())
