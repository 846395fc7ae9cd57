"""Whether a server lives: `GET /health/live`, again and again, in a process of its own.

Owns one request and what each took. Must not share an interpreter with those who load the server: their work would be
counted as its. Invariant: each is asked on a connection of its own, as a monitor does.

    python -m bench.probe PORT       until its standard input is closed; then prints what it saw
"""

import json
import select
import socket
import sys
import time

_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_PAUSE = 0.01  # seconds between two
_LIMIT = 10.0  # seconds after which there is no answer


def _asked(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), _LIMIT) as probe:
            probe.settimeout(_LIMIT)
            probe.sendall(_REQUEST)
            return probe.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def main() -> None:
    """Ask until told to end."""
    taken: list[float] = []
    failed = 0
    while not select.select([sys.stdin], [], [], _PAUSE)[0]:
        begun = time.perf_counter()
        failed += not _asked(int(sys.argv[1]))
        taken.append(time.perf_counter() - begun)
    sys.stdout.write(json.dumps({"taken": taken, "failed": failed}))


if __name__ == "__main__":
    main()
