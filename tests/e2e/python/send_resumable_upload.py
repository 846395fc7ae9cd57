"""Drives the unmodified client of resumable-upload for tests/e2e: one JSON object in, one JSON object out.

`options` are of the client; with `parts` the file is sent as so many at once, and put together by the server.
"""

import json
import sys

from resumable_upload import TusClient


def send(endpoint: str, path: str, parts: int, options: dict[str, object]) -> str:
    client = TusClient(endpoint, **options)
    return client.upload_file(path, metadata={"filename": "take.wav"}, parallel_uploads=parts or 1)


sys.stdout.write(json.dumps({"outcome": "success", "url": send(**json.loads(sys.argv[1]))}))
