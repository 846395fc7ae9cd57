"""Drives an unmodified tuspy for tests/e2e: one JSON object of choices in, one JSON object out.

`kind` is the method of the client that makes the uploader: `uploader` or `async_uploader`.
"""

import asyncio
import json
import sys

from tusclient.client import TusClient


def send(endpoint: str, path: str, kind: str, options: dict[str, object]) -> str:
    uploader = getattr(TusClient(endpoint), kind)(path, metadata={"filename": "take.wav"}, **options)
    running = uploader.upload()
    if running is not None:
        asyncio.run(running)
    return uploader.url


sys.stdout.write(json.dumps({"outcome": "success", "url": send(**json.loads(sys.argv[1]))}))
