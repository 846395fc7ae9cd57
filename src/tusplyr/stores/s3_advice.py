"""What an operator is to change, for what the client has raised.

Owns the advice; what has happened is told by `s3_errors`. Must not know which requests there are. Invariant: it names
settings of ours, and it sends nobody to a setting that has nothing to do with the error.
"""

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)

from tusplyr.stores.s3_errors import Certified, certified, code_of

MAIN = "S3_BUCKET"
NAMES = {"audio": MAIN, "images": "S3_IMAGE_BUCKET", "files": "S3_FILE_BUCKET"}  # of the setting, by folder
CREDENTIALS = "Set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY to a pair that is valid for this account."
NEEDS = "Give the credentials (on R2: the API token) the right to read, write and list objects in this bucket."
REGION = "Set S3_REGION to that of the bucket; on R2 it is auto."
PLACE = "Set S3_REGION and S3_ENDPOINT_URL to those of the bucket."
WAIT = "Wait and try again: nothing is wrong here, it is busy. If it stays so, lower S3_CONCURRENCY."
OTHER = "This is what the store itself says: try again, and if it stays, ask those who run it."
ENDPOINT = "Check S3_ENDPOINT_URL and the network."
PLAIN = "Try https:// in S3_ENDPOINT_URL: what listens there does not answer to http:// as S3 does."
SECURE = "Try http:// in S3_ENDPOINT_URL, or another port: what listens there does not speak TLS."
CHANGES = {
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized", "InvalidToken", "ExpiredToken"): CREDENTIALS,
    ("PermanentRedirect", "301", "IllegalLocationConstraintException"): PLACE,
    ("AuthorizationHeaderMalformed", "InvalidRegionName", "400"): REGION,
    ("RequestTimeTooSkewed",): "Have this machine keep the time (NTP).",
    ("403", "AccessDenied"): NEEDS,
    ("NoSuchKey",): "Leave the name of the bucket, and every other path, out of S3_ENDPOINT_URL.",
    ("SlowDown", "TooManyRequests", "429", "ServiceUnavailable", "503"): WAIT,
}
CERTIFICATES = {
    Certified.UNREADABLE: "Correct AWS_CA_BUNDLE: it is to name a file of certificates that this user can read.",
    Certified.UNKNOWN: "Name a file with the certificate of whoever signed it in the variable AWS_CA_BUNDLE.",
    Certified.ELSEWHERE: "Use the name in S3_ENDPOINT_URL that its certificate is for.",
    Certified.PLAIN: SECURE,
    Certified.OTHER: ENDPOINT,
}


def setting_of(bucket: str, buckets: dict[str, str]) -> str:
    """Return the names of the settings that name a bucket."""
    folders = [folder for folder, name in buckets.items() if name == bucket]
    return MAIN if buckets.get("audio") == bucket else " and ".join(NAMES[folder] for folder in folders)


def advice(error: BaseException | None, endpoint: str | None, setting: str) -> str:
    """Say what to change.

    Args:
        error: what the client has raised.
        endpoint: the one that was asked; None is AWS.
        setting: the one that names the bucket.
    """
    plain = (endpoint or "").startswith("http://")
    match error:
        case ClientError():
            return _refused(code_of(error), setting, plain=plain)
        case NoCredentialsError() | PartialCredentialsError():
            return CREDENTIALS
        case ProfileNotFound():
            return "Correct the variable AWS_PROFILE, or remove it."
        case SSLError():
            return CERTIFICATES[certified(error)]
        case ConnectionClosedError() | RecursionError() if plain:  # the latter: it is redirected
            return PLAIN
        case _:
            return ENDPOINT


def _refused(code: str, setting: str, *, plain: bool) -> str:
    if code in {"NoSuchBucket", "404"}:
        return f"Create the bucket, or correct {setting}; on R2 the account in S3_ENDPOINT_URL decides, too."
    if plain and code in {"400", "301"}:
        return f"{PLAIN} Otherwise: {REGION}"
    return next((change for codes, change in CHANGES.items() if code in codes), OTHER)
