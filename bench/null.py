"""The limit of small uploads: the same web stack, and as little behind it as there can be.

Owns two Litestar handlers on uvicorn that know no protocol beyond what the client needs: no check, no metadata, no
hash, no row. With `--sync` a creation adds 100 bytes to one log and syncs it, and an append writes and syncs a file
of its own and then adds to the log again, in one hop to a thread each: what no server that keeps its promises can
leave out.

    python -m bench.null PORT DIRECTORY [--sync]
"""

import asyncio
import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response, patch, post

Call = Request[Any, Any, Any]


def build(directory: Path, *, sync: bool) -> Litestar:
    """Return the application over a directory that exists."""
    threads = ThreadPoolExecutor(8)
    log = os.open(directory / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    numbers = itertools.count()

    def note() -> None:
        os.write(log, bytes(100))
        os.fdatasync(log)

    def keep(name: str, data: bytes) -> None:
        file = os.open(directory / name, os.O_CREAT | os.O_WRONLY, 0o600)
        os.pwrite(file, data, 0)
        os.fdatasync(file)
        os.close(file)
        note()

    @post("/files")
    async def create() -> Response[None]:
        if sync:
            await asyncio.get_running_loop().run_in_executor(threads, note)
        return Response(None, status_code=201, headers={"Location": f"/files/{next(numbers)}"})

    @patch("/files/{name:str}", status_code=204)
    async def append(request: Call, name: str) -> Response[None]:
        data = await request.body()
        if sync:
            await asyncio.get_running_loop().run_in_executor(threads, keep, name, data)
        return Response(None, status_code=204, headers={"Upload-Offset": str(len(data))})

    return Litestar([create, append], openapi_config=None, logging_config=None)


def main() -> None:
    """Serve until the process is ended."""
    app = build(Path(sys.argv[2]), sync="--sync" in sys.argv)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False, loop="uvloop")


if __name__ == "__main__":
    main()
