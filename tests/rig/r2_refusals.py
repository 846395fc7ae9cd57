"""What R2 refuses before it looks any further, as far as the head of a request shows it.

Must not know what an operation does. Invariant: what R2 would refuse is refused here, even where S3 itself would take
it.
"""

from rig.s3_wire import Refused, Request

CLASS = "x-amz-storage-class"
CHECKSUM = "x-amz-checksum-"
META = "x-amz-meta-"
KEY_LIMIT = 1024
METADATA_LIMIT = 8192
UNKNOWN = ("x-amz-tagging", "x-amz-acl", "x-amz-grant-", "x-amz-object-lock-", "x-amz-website-", "x-amz-copy-source")
CHECKSUMS = ("sha256", "crc32")  # of those that R2 takes, what the double can count


def refuse(request: Request) -> None:
    """Raise `Refused` for what R2 does not have, as far as the head of a request shows it."""
    headers = request.headers
    payload = headers.get("x-amz-content-sha256", "")
    if payload.startswith("STREAMING-"):
        raise Refused(501, "NotImplemented", f"{payload} not implemented")
    if "aws-chunked" in headers.get("content-encoding", "") or "x-amz-trailer" in headers:
        raise Refused(501, "NotImplemented", "aws-chunked and trailers are not implemented")
    if request.length is None:
        raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    for name, value in headers.items():
        odd = name.startswith(CHECKSUM) and name.removeprefix(CHECKSUM) not in {*CHECKSUMS, "mode", "algorithm", "type"}
        if odd or name.startswith(UNKNOWN):
            raise Refused(501, "NotImplemented", f"Header '{name}' with value '{value}' not implemented")
    if len(request.key.encode()) > KEY_LIMIT:
        raise Refused(400, "KeyTooLongError", "Your key is too long.")
    if (
        sum(len(name) - len(META) + len(value) for name, value in headers.items() if name.startswith(META))
        > METADATA_LIMIT
    ):
        raise Refused(
            400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size."
        )  # 10012
    if headers.get(CLASS, "STANDARD") not in {"STANDARD", "STANDARD_IA"}:
        raise Refused(400, "InvalidStorageClass", "The storage class you specified is not valid.")
