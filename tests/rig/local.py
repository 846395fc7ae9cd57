"""A real server behind a socket in the file system, and a client that reaches it there.

Owns the difference to a port of loopback, and nothing else. Invariant: as in `rig.server` and `rig.tus`.
"""

import os
import socket
from pathlib import Path

from rig.server import Server
from rig.tus import Client


class LocalServer(Server):
    """A server that listens on a socket, and on no port."""

    def __init__(self, folder: Path, place: Path, **settings: str | float | Path) -> None:
        super().__init__(folder, SOCKET=place, **settings)
        self.place = place
        del self.env["TUSPLYR_HOST"], self.env["TUSPLYR_PORT"]

    def _ready(self) -> bool:
        try:
            with LocalClient(self.place) as client:
                return client.request("GET", "/health/ready").status == 200
        except OSError:
            return False


class LocalClient(Client):
    """A client on a socket in the file system."""

    def __init__(self, place: Path) -> None:
        self.place = place
        super().__init__(0)

    def _dial(self) -> socket.socket:
        dialled = socket.socket(socket.AF_UNIX)
        dialled.settimeout(self.timeout)
        try:
            dialled.connect(os.fspath(self.place))
        except OSError:
            dialled.close()
            raise
        return dialled
