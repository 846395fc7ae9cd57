"""Drives an unmodified aiotus for tests/e2e: one JSON object of choices in, one JSON object out.

With `parts` the file is sent as so many at once, and put together by the server.
"""

import asyncio
import io
import json
import sys
from pathlib import Path

import aiotus

WAIT = 0.1  # seconds at most between two tries
METADATA = {"filename": b"take.wav"}


async def send(endpoint: str, data: bytes, parts: int) -> dict[str, str]:
    config = aiotus.RetryConfiguration(max_retry_period_seconds=WAIT)
    if not parts:
        url = await aiotus.upload(endpoint, io.BytesIO(data), METADATA, config=config)
    else:
        step = -(-len(data) // parts)
        files = [io.BytesIO(data[at : at + step]) for at in range(0, len(data), step)]
        url = await aiotus.upload_multiple(endpoint, files, METADATA, config=config)
    return {"outcome": "success" if url else "error", "url": str(url)}


call = json.loads(sys.argv[1])
sys.stdout.write(json.dumps(asyncio.run(send(call["endpoint"], Path(call["path"]).read_bytes(), call["parts"]))))
