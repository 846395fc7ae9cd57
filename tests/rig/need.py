"""No excuse for a tool that is missing: a developer may lack it, CI may not.

Must not know any tool.
"""

import os

import pytest


def need(present: object, missing: str) -> None:
    """Skip without something that a developer may lack; fail in CI, which must have it."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
