"""What each change of an upload sets, and which changes cannot be asked for.

Owns the new values of a change, for every adapter alike. Must not know where rows are kept or what
time it is. Invariant: only what is returned here changes in a row, so a caller whose upload is a
little old (another offset) never writes old values back. A change that no correct caller asks for
is a `ValueError`, raised before anything is written.
"""

from typing import Any

from tusplyr.core import lifecycle
from tusplyr.core.lifecycle import OPEN, WAITING
from tusplyr.core.model import Content, Reason, Status, Upload

Changes = dict[str, Any]

LONGEST_ERROR = 1000  # characters of a failure that are kept for the operator


def checkpointed(
    upload: Upload, offset: int, digest: bytes | None, sha256: str | None, content: Content | None, *, now: float
) -> Changes:
    """Return what a checkpoint sets; with `sha256` the move to `received` too, with `content` the one to `stored`.

    The length is set as well: it may have been unknown before, and never changes once it is known.
    """
    if upload.status not in OPEN:
        raise ValueError(f"an upload that is {upload.status} takes no checkpoint")
    if offset < upload.offset or (upload.length is not None and offset > upload.length):
        raise ValueError(f"a checkpoint at {offset} is outside {upload.offset} to {upload.length}")
    if content is not None and content.sha256 != sha256:
        raise ValueError(f"{content.key} is not the content of an upload whose digest is {sha256}")
    progress = {"length": upload.length, "offset": offset, "digest": digest, "updated_at": now}
    if sha256 is None:
        return progress
    if offset != upload.whole_at:
        raise ValueError(f"an upload of {upload.length} bytes is not complete at {offset}, or never published")
    status = Status.RECEIVED if content is None else Status.STORED
    return progress | {"sha256": sha256, "status": status, "epoch": upload.epoch + 1, "due_at": now, "error": None}


def moved(upload: Upload, status: Status, reason: Reason | None, now: float) -> Changes:
    """Return what a change of status sets."""
    if upload.status not in lifecycle.sources(status, reason):
        raise ValueError(f"an upload that is {upload.status} does not become {status} ({reason})")
    if upload.status in OPEN and status is not Status.GONE:
        raise ValueError(f"an upload does not become {status} before a checkpoint has said that it is whole")
    error = None if status is Status.STORED else upload.error  # what failed before is over
    return {"status": status, "epoch": upload.epoch + 1, "reason": reason, "error": error, "updated_at": now}


def touched(upload: Upload, now: float) -> Changes:
    """Return what it sets that an upload is needed: whoever was about to end it finds it changed."""
    return {"updated_at": now, "epoch": upload.epoch + 1}


def hastened(upload: Upload, due_at: float) -> Changes:
    """Return what another time for the next attempt sets. An attempt that is under way is not disturbed."""
    if upload.status not in WAITING:
        raise ValueError(f"an upload that is {upload.status} is not waiting to be published or assembled")
    return {"due_at": due_at}


def postponed(upload: Upload, due_at: float, error: str, now: float, *, restart: bool) -> Changes:
    """Return what a failed attempt to publish or to assemble sets."""
    if upload.status not in WAITING:
        raise ValueError(f"an upload that is {upload.status} is not waiting to be published or assembled")
    # Undecodable bytes of a file name, which an error may quote, cannot be written to a text column.
    text = error[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode().replace("\0", "")
    failed = {"attempts": upload.attempts + 1, "due_at": due_at, "error": text, "updated_at": now}
    if not restart:
        return failed
    if upload.status is not Status.ASSEMBLING:
        raise ValueError(f"an upload that is {upload.status} does not begin again: its offset was told")
    return failed | {"offset": 0, "digest": None}
