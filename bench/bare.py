"""The limit: a blocking loop that receives, writes and hashes, and nothing else.

Owns just enough HTTP to be driven by the same client. One connection at a time, one buffer, no
framework, no event loop, no check, no row. With `--sync` it makes every 16 MiB and the end durable, which
tells what the disk leaves to any server that keeps its promises.

    python -m bench.bare PORT DIRECTORY [--sync]
"""

import base64
import hashlib
import os
import re
import socket
import sys
from pathlib import Path

_BUFFER = 1024 * 1024
_SPAN = 16 * _BUFFER
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")


class _Upload:
    def __init__(self, path: Path, *, sync: bool) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        self._sync = sync
        self._synced = 0
        self.digest = hashlib.sha256()
        self.offset = 0

    def write(self, view: memoryview) -> None:
        os.pwrite(self._file, view, self.offset)
        self.digest.update(view)
        self.offset += len(view)
        if self._sync and self.offset - self._synced >= _SPAN:
            self.sync()

    def sync(self) -> None:
        if self._sync:
            os.fdatasync(self._file)
            self._synced = self.offset

    def close(self) -> None:
        os.close(self._file)


def _receive(peer: socket.socket, upload: _Upload, buffer: bytearray, arrived: bytes, length: int) -> None:
    view = memoryview(buffer)
    if arrived:
        upload.write(memoryview(arrived))
    left = length - len(arrived)
    while left:
        count = peer.recv_into(view[: min(_BUFFER, left)])
        if not count:
            return
        upload.write(view[:count])
        left -= count
    upload.sync()


def _serve(peer: socket.socket, directory: Path, *, sync: bool) -> None:
    buffer = bytearray(_BUFFER)
    upload: _Upload | None = None
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            data = peer.recv(65536)
            if not data:
                break
            pending += data
        request, found, arrived = pending.partition(b"\r\n\r\n")
        if not found:
            break
        pending = b""
        if request.startswith(b"PATCH") and upload:
            length = _LENGTH.search(request)
            _receive(peer, upload, buffer, arrived, int(length[1]) if length else 0)
            digest = base64.b64encode(upload.digest.digest()).decode()
            reply = f"204 No Content\r\nUpload-Offset: {upload.offset}\r\nRepr-Digest: sha-256=:{digest}:\r\n"
        elif request.startswith(b"POST"):
            if upload:
                upload.close()
            upload = _Upload(directory / "body", sync=sync)
            reply = "201 Created\r\nLocation: /body\r\nContent-Length: 0\r\n"
        else:
            reply = "204 No Content\r\n"
        peer.sendall(f"HTTP/1.1 {reply}\r\n".encode())
    if upload:
        upload.close()


def main() -> None:
    """Serve connections one after the other until the process is ended."""
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            peer, _ = listener.accept()
            with peer:
                _serve(peer, directory, sync="--sync" in sys.argv)


if __name__ == "__main__":
    main()
