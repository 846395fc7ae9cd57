"""What a traced server did, in letters, and what it had said to its disk at each step.

Owns the naming of system calls by what the law speaks of. Must not know how the server is built: only which files
and which connection it uses. Invariant: what is said of a step is taken from the calls themselves and from the
bytes on disk, never from what the server says.
"""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from rig.server import Server
from rig.trace import LINK, SEND, SYNC, UNLINK, WRITE, Call

# w write and s sync of a spool file, n sync of the spool's names; W and S the same of the ledger; l link, d sync of
# the names in a folder of the store, f of the folders; R the reply; u unlink of a spool file, which nothing waits for.
LETTERS = [
    ("R", SEND, r'.*"HTTP/1\.1 20[14]'),
    ("w", WRITE, r"\d+<{spool}/[0-9a-f]{{32}}>"),
    ("s", SYNC, r"\d+<{spool}/[0-9a-f]{{32}}>"),
    ("n", SYNC, r"\d+<{spool}>"),
    ("W", WRITE, r"\d+<{data}/tusplyr\.db-wal>"),
    ("S", SYNC, r"\d+<{data}/tusplyr\.db-wal>"),
    ("l", LINK, r'.*"{spool}/[0-9a-f]{{32}}".* = 0$'),
    ("d", SYNC, r"\d+<{store}/audio>"),
    ("f", SYNC, r"\d+<{store}>"),
    ("u", UNLINK, r'.*"{spool}/[0-9a-f]{{32}}"'),
]
WRITTEN = re.compile(r", \d+, (?P<at>\d+)(?: <unfinished \.\.\.>)?\) += (?P<count>\d+)$")


def story(calls: list[Call], server: Server) -> list[tuple[str, Call]]:
    """Name the calls of a trace that the law speaks of, in the order in which they began."""
    places = {"spool": server.spool, "data": server.data, "store": server.store}
    known = [(letter, names, re.compile(what.format(**places))) for letter, names, what in LETTERS]
    return [
        (letter, call)
        for call in calls
        for letter, names, what in known
        if call.name in names and what.match(call.arguments)
    ]


def end_of(write: Call) -> int:
    """Return the offset behind the bytes of a pwrite64."""
    found = WRITTEN.search(write.arguments)
    assert found is not None, write
    return int(found["at"]) + int(found["count"])


def covered(sync: Call, writes: list[Call]) -> int:
    """Return how far a file was written when a sync of it began: the bytes that are durable when it returns."""
    return max((end_of(write) for write in writes if write.ended < sync.began), default=0)


def rows_as_committed(
    steps: list[tuple[str, Call]], server: Server, upload_id: str, folder: Path
) -> list[tuple[int, int]]:
    """Return of each commit the offset that its row has on disk, and the line at which its first write began.

    The write-ahead log is cut off where each commit ended: what SQLite reads then is what a crash would have left.
    """
    commits: list[tuple[int, int]] = []
    writes: list[Call] = []
    for letter, call in steps:
        if letter == "W":
            writes.append(call)
        elif letter == "S":
            copy = folder / "copy.db"
            shutil.copyfile(server.data / "tusplyr.db", copy)
            log = (server.data / "tusplyr.db-wal").read_bytes()[: max(map(end_of, writes))]
            (folder / "copy.db-wal").write_bytes(log)
            (folder / "copy.db-shm").unlink(missing_ok=True)
            with closing(sqlite3.connect(copy)) as database:
                [(offset,)] = database.execute('SELECT "offset" FROM uploads WHERE id = ?', (upload_id,))
            commits.append((offset, writes[0].began))
            writes = []
    return commits
