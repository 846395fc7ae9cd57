"""Clients in processes of their own: one JSON object in, one JSON object out.

Owns starting a driver and reading its report. Must not know what the report says. Invariant: no driver
outlives its call, or for a browser its `with` block.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, Self

from rig.pages import Pages

LIMIT = 240  # seconds for one run; generous, CI machines are shared


def drive(*line: str | Path, cwd: Path, **arguments: object) -> dict[str, Any]:
    """Run a driver once, as a process of its own, and return what it reported. Named arguments follow in one object."""
    whole = [*line, json.dumps(arguments)] if arguments else line
    run = subprocess.run(whole, cwd=cwd, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert run.stdout, run.stderr
    return json.loads(run.stdout)


class Browser:
    """Headless Chromium behind its driver, and the pages for it. It limits the time of every visit itself."""

    def __init__(self, driver: Path, chromium: str, pages: Pages) -> None:
        self.pages = pages
        self._line = ["node", driver, chromium]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._report()["outcome"] == "ready"
        return self

    def __exit__(self, *_rest: object) -> None:
        self._process.communicate(timeout=LIMIT)

    def visit(self, page: str, path: Path | None = None, *calls: dict[str, object]) -> dict[str, Any]:
        """Open a page with a profile of its own and a file in its input; return what its last call reported."""
        argument = {"page": self.pages.url + page, "path": str(path) if path else None, "calls": calls or [{}]}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(argument) + "\n")
        self._process.stdin.flush()
        return self._report()

    def _report(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the driver of the browser ended; its last words are on standard error"
        return json.loads(line)
