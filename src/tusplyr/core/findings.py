"""What a look at the surroundings has found, for an operator.

Owns the words for it. Must not know what was looked at. Invariant: what is not in order says what to change.
"""

from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """How bad it is: in order; it works, and could be better; it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        verdict: see there.
        about: what was looked at, in a word or two.
        text: what was found.
        change: what to do about it; empty where nothing is to be done.
    """

    verdict: Verdict
    about: str
    text: str
    change: str = ""
