"""What a bucket can do, found out by doing it.

Owns the probe objects and what each answer means for an operator. Must not know the ledger, nor touch a content key:
what it writes is under a name of its own, and it is the only code of ours that deletes an object: that one. Invariant:
the client is the store's own, so what works here works there.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from tusplyr.core.errors import StoreDown
from tusplyr.core.findings import Finding, Verdict
from tusplyr.stores.s3_advice import ENDPOINT, MAIN, advice, setting_of
from tusplyr.stores.s3_client import connect
from tusplyr.stores.s3_errors import ABSENT, FOREIGN, UNKNOWN_CONDITION, Taken, Vanished, code_of, translated
from tusplyr.stores.s3_options import MIB, S3Options
from tusplyr.stores.s3_parts import composite
from tusplyr.stores.s3_reach import NAME, Elsewhere, brisk, buckets_of, look
from tusplyr.stores.s3_readers import Sample, readers
from tusplyr.stores.s3_rules import Ruled, cors, lifecycle

SAME_KEY = 1.1  # seconds between two writes of one key: R2 takes one a second
SKEW = 60.0  # seconds of a wrong clock that are worth a word
REFUSED_SKEW = 900.0  # seconds from which requests are refused
BODIES = (b"written by tusplyr doctor, and to be removed by it", b"other content")
CLOCK = "clock"
MISMATCH = {"BadDigest", "InvalidDigest", "400"}  # how a body is refused that its checksum does not match

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


class Impaired(Exception):
    """What follows cannot be tried; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


def probe(options: S3Options, *, redirects: bool) -> Iterator[Finding]:
    """Try everything that the store needs of each bucket, and remove what was written for it. Blocking, some seconds.

    Args:
        options: see there.
        redirects: readers are sent to the bucket.
    """
    try:
        client = connect(brisk(options))
    except StoreDown as error:
        yield Finding(FAIL, "S3", str(error), advice(error.__cause__, options.endpoint_url, MAIN))
        return
    with closing(client):
        findings = (_Probe(client, bucket, options).run(redirects=redirects) for bucket in buckets_of(options))
        yield from _one_clock(chain.from_iterable(findings))


def _one_clock(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Tell of the clock once: all buckets are at one endpoint."""
    told = False
    for finding in findings:
        if finding.about != CLOCK or not told:
            yield finding
        told = told or finding.about == CLOCK


class _Probe:
    """One bucket."""

    def __init__(self, client: Any, bucket: str, options: S3Options) -> None:
        self._s3 = client
        self._bucket = bucket
        self._about = f"bucket {bucket}"
        self._options = options
        self._setting = setting_of(bucket, options.buckets)
        self._places = [f"{options.prefix}{folder}/" for folder, name in options.buckets.items() if name == bucket]
        self._name = f"{options.prefix}{NAME}{secrets.token_hex(8)}"
        self._written: list[str] = []  # perhaps: an answer may be lost
        self._begun: list[str] = []  # keys under which a transfer may be unfinished

    def run(self, *, redirects: bool) -> Iterator[Finding]:
        try:
            yield from self._reach()
        except Impaired as impaired:
            yield impaired.finding
            return
        try:
            yield from self._write()
            yield from self._write_again()
            yield from self._checksum()
            yield from readers(Sample(self._s3, self._bucket, self._name, BODIES), self._options, redirects=redirects)
            yield from self._parts()
            yield from self._list()
        except Impaired as impaired:
            yield impaired.finding
        if self._written or self._begun:
            yield self._remove()
        ruled = Ruled(self._s3, self._bucket, self._places)
        yield from lifecycle(ruled)
        if redirects:
            yield from cors(ruled)

    def _reach(self) -> Iterator[Finding]:
        """See whether it answers, to whom, and what time it is there."""
        began = time.time()
        try:
            answer = look(self._s3, self._bucket, self._options.prefix)
        except ClientError as error:
            yield from self._clock(error.response, began)
            raise Impaired(self._failed(error, "listed")) from error
        except StoreDown as error:
            text = str(error).removeprefix(f"{self._about}: ")
            change = error.change if isinstance(error, Elsewhere) else ENDPOINT
            raise Impaired(self._found(FAIL, text, change)) from error
        except FOREIGN as error:
            raise Impaired(self._found(FAIL, _short(error), self._advice(error))) from error
        yield self._found(OK, "answers, and the credentials are right")
        yield from self._clock(answer, began)

    def _clock(self, answer: dict[str, Any], began: float) -> Iterator[Finding]:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            ahead = (began + time.time()) / 2 - parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        text = f"the clock of this machine is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
        change = "Have this machine keep the time (NTP): from 15 minutes on every request is refused."
        if abs(ahead) < SKEW:
            yield Finding(OK, CLOCK, "the clocks agree")
        else:
            yield Finding(FAIL if abs(ahead) >= REFUSED_SKEW else WARN, CLOCK, text, change)

    def _write(self) -> Iterator[Finding]:
        body = BODIES[0]
        self._written.append(self._name)
        with self._needed("written to"):
            self._put(body)
        with self._needed("read"):
            read = self._s3.get_object(Bucket=self._bucket, Key=self._name)["Body"].read()
        if read != body:
            raise Impaired(self._found(FAIL, "what is read is not what was written", "Do not use this bucket."))
        yield self._found(OK, "an object was written and read back")

    def _write_again(self) -> Iterator[Finding]:
        """See whether a key that is taken is written to."""
        time.sleep(SAME_KEY)
        try:
            self._put(BODIES[1], IfNoneMatch="*")
        except FOREIGN as error:
            code = code_of(error) if isinstance(error, ClientError) else ""
            if code not in {"412", "PreconditionFailed"} | UNKNOWN_CONDITION:
                raise Impaired(self._failed(error, "written to under a condition")) from error
            if code not in UNKNOWN_CONDITION:
                yield self._found(OK, "a key that is taken is not overwritten (If-None-Match)")
                return
        yield self._found(
            WARN,
            "If-None-Match is not honoured, so the server asks before it writes",
            "Let no other server write to this bucket and prefix.",
        )

    def _checksum(self) -> Iterator[Finding]:
        """See whether a body is held against the checksum that comes with it."""
        key = f"{self._name}-checksum"
        self._written.append(key)
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=BODIES[0], ContentMD5=_md5(BODIES[1]))
        except FOREIGN as error:
            if not isinstance(error, ClientError) or code_of(error) not in MISMATCH:
                raise Impaired(self._failed(error, "written to with a checksum")) from error
            self._written.remove(key)
            yield self._found(OK, "a body that does not match its checksum (Content-MD5) is refused")
        else:
            text = "bodies are not held against their checksum (Content-MD5)"
            yield self._found(
                WARN, text, "What is damaged on the way there is seen by its ETag alone: speak https to it."
            )

    def _parts(self) -> Iterator[Finding]:
        """Send three parts, two of them equal and as small as is allowed."""
        key = f"{self._name}-parts"
        self._begun.append(key)
        with self._needed("written to in parts"):
            upload = self._s3.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]
        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload}
        with self._needed("written to in parts"):
            etags = {
                number: self._s3.upload_part(**place, PartNumber=number, Body=body, ContentMD5=_md5(body))["ETag"]
                for number, body in enumerate((bytes(5 * MIB), bytes(5 * MIB), b"!"), 1)
            }
            parts = [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]
            self._written.append(key)
            made = self._s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
            self._begun.remove(key)
            length = self._s3.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        if length != 10 * MIB + 1:
            raise Impaired(self._found(FAIL, "parts do not make the object that they should", "Do not use it."))
        if made.get("ETag", "").strip('"') == composite(etags):
            yield self._found(OK, "three parts make one object, whose ETag is the one of its parts")
        else:
            text = "three parts make one object; its ETag is not made of theirs, so it is asked for after"
            yield self._found(OK, text)

    def _list(self) -> Iterator[Finding]:
        with self._needed("listed"):
            self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._name, MaxKeys=1)
        try:
            self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=self._name)
            yield self._found(OK, "objects and unfinished transfers can be listed")
        except FOREIGN as error:
            text = f"unfinished transfers cannot be listed ({_short(error)}), so one whose answer was lost stays there"
            yield self._found(WARN, text, "See that the bucket has a rule that aborts them after some days.")

    def _remove(self) -> Finding:
        left = [f"unfinished transfers under {key}" for key in self._begun if not self._aborted(key)]
        left += [key for key in self._written if not self._deleted(key)]
        if left:
            text = (
                "not all that was written for this test is known to be gone; the server itself never deletes an object"
            )
            return self._found(WARN, text, f"Remove {' and '.join(left)}, as far as it is there.")
        return self._found(OK, "nothing is left of what was written for this test")

    def _aborted(self, key: str) -> bool:
        """Abort all that has begun under a key; say whether that is known to be nothing now."""
        try:
            begun = self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=key).get("Uploads", ())
            for upload in begun:
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload["UploadId"])
        except FOREIGN:
            return False
        return True

    def _deleted(self, key: str) -> bool:
        """Delete an object of ours; say whether it is known not to be there now."""
        place = {"Bucket": self._bucket, "Key": key}
        try:
            self._s3.delete_object(**place)
        except FOREIGN:
            try:
                self._s3.head_object(**place)
            except ClientError as error:
                return code_of(error) in ABSENT
            except FOREIGN:
                pass
            return False
        return True

    def _put(self, body: bytes, **conditions: str) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=self._name, Body=body, ContentMD5=_md5(body), **conditions)

    @contextmanager
    def _needed(self, what: str) -> Iterator[None]:
        try:
            yield
        except FOREIGN as error:
            raise Impaired(self._failed(error, what)) from error

    def _found(self, verdict: Verdict, text: str, change: str = "") -> Finding:
        return Finding(verdict, self._about, text, change)

    def _failed(self, error: Exception, what: str) -> Finding:
        return self._found(FAIL, f"cannot be {what}: {_short(error)}", self._advice(error))

    def _advice(self, error: Exception) -> str:
        return advice(error, self._options.endpoint_url, self._setting)


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _short(error: Exception) -> str:
    """Return the store's own words for a person, without ours around them."""
    try:
        with translated(""):
            raise error
    except StoreDown as ours:
        return " ".join(str(ours).removeprefix(": ").split())
    except (Taken, Vanished):
        return str(error)
