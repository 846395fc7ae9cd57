"""boto3's own `upload_file`, in a process of its own.

Owns one upload and what it costs. Must not know ours. Invariants: the client is set up as R2 needs it, since its
defaults (a checksum in a trailer of every part) fail on versitygw over TLS; it has asked something before the time
begins, as a server that runs has, too.

    python -m bench.boto URL BUCKET FILE KEY PART CONCURRENCY
"""

import json
import sys
import time

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config


def main() -> None:
    """Upload a file; print seconds, and CPU seconds. Credentials and certificates come from the environment."""
    url, bucket, file, key, part, concurrency = sys.argv[1:]
    client = boto3.client("s3", endpoint_url=url, config=Config(request_checksum_calculation="when_required"))
    client.head_bucket(Bucket=bucket)
    config = TransferConfig(
        multipart_threshold=int(part), multipart_chunksize=int(part), max_concurrency=int(concurrency)
    )
    begun, cpu = time.perf_counter(), time.process_time()
    client.upload_file(file, bucket, key, Config=config)
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
