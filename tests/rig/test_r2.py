"""The double's own proof, with the client that the world uses: it answers as S3 does, and refuses what R2 refuses."""

import hashlib
import http.client
import ssl
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, HTTPClientError, ReadTimeoutError

from rig.buckets import Bucket, at_double, connect, r2
from rig.r2 import R2
from rig.r2_faults import Cut, Fault, Seen
from rig.r2_state import Condition, Rules
from rig.sigv4 import signing_key

PART = 1000


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with r2(part_minimum=PART) as place:
        yield place


@pytest.fixture
def double(bucket: Bucket) -> R2:
    assert bucket.double is not None
    return bucket.double


@pytest.fixture
def client(bucket: Bucket) -> Iterator[Any]:
    made = connect(bucket)
    yield made
    made.close()


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    """Call what is to be refused; return the status and the code."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def begin(client: Any, key: str = "k", **arguments: Any) -> dict[str, str]:
    made = client.create_multipart_upload(Bucket="first", Key=key, **arguments)
    return {"Bucket": "first", "Key": key, "UploadId": made["UploadId"]}


def send(client: Any, upload: dict[str, str], *bodies: bytes) -> dict[str, Any]:
    """Send parts; return what completes the upload."""
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    return upload | {"MultipartUpload": {"Parts": parts}}


def fetch(url: str, ca: Path | None) -> tuple[int, bytes]:
    """Follow an address as a browser would."""
    try:
        with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=ca)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_an_object_keeps_its_bytes_and_what_was_said_of_it(client: Any) -> None:
    said = {
        "Metadata": {"sha256": "abc"},
        "ContentType": "audio/flac",
        "CacheControl": "public",
        "ContentDisposition": 'attachment; filename="x"',
    }
    etag = client.put_object(Bucket="first", Key="a/ü b+c~", Body=b"hello", **said)["ETag"]
    assert etag == f'"{hashlib.md5(b"hello").hexdigest()}"'
    head = client.head_object(Bucket="first", Key="a/ü b+c~")
    assert {name: head[name] for name in said} == said
    assert (head["ContentLength"], head["ETag"]) == (5, etag)
    assert client.get_object(Bucket="first", Key="a/ü b+c~")["Body"].read() == b"hello"
    assert refused(client.get_object, Bucket="second", Key="a/ü b+c~") == (404, "NoSuchKey")
    client.delete_object(Bucket="first", Key="a/ü b+c~")
    assert refused(client.head_object, Bucket="first", Key="a/ü b+c~") == (404, "404")


@pytest.mark.parametrize(
    ("text", "found"),
    [("bytes=0-0", b"0"), ("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-100", b"89")],
)
def test_a_range_is_cut_out_of_an_object_of_many_parts(client: Any, double: R2, text: str, found: bytes) -> None:
    double.rules.part_minimum = 1
    client.complete_multipart_upload(**send(client, begin(client), b"012", b"345", b"678", b"9"))
    answer = client.get_object(Bucket="first", Key="k", Range=text)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()) == (206, found)
    assert answer["ContentRange"].endswith("/10")


def test_a_range_behind_the_end_is_refused(client: Any) -> None:
    client.put_object(Bucket="first", Key="k", Body=b"abc")
    assert refused(client.get_object, Bucket="first", Key="k", Range="bytes=3-") == (416, "InvalidRange")


def test_a_put_under_a_condition_fails_where_the_condition_does(client: Any) -> None:
    etag = client.put_object(Bucket="first", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        answer = refused(client.put_object, Bucket="first", Key="k", Body=b"2", **condition)
        assert answer == (412, "PreconditionFailed")
    client.put_object(Bucket="first", Key="k", Body=b"3", IfMatch=etag)
    assert refused(client.put_object, Bucket="first", Key="n", Body=b"", IfMatch=etag) == (412, "PreconditionFailed")


def test_checksums_are_verified_and_that_of_a_whole_object_is_kept(client: Any) -> None:
    md5 = b64encode(hashlib.md5(b"other").digest()).decode()
    sha256 = b64encode(hashlib.sha256(b"hello").digest()).decode()
    for wrong in ({"ContentMD5": md5}, {"ChecksumSHA256": b64encode(bytes(32)).decode()}):
        assert refused(client.put_object, Bucket="first", Key="k", Body=b"hello", **wrong) == (400, "BadDigest")
        assert refused(client.upload_part, **begin(client), PartNumber=1, Body=b"hello", **wrong) == (400, "BadDigest")
    client.put_object(Bucket="first", Key="k", Body=b"hello", ChecksumSHA256=sha256)
    assert client.head_object(Bucket="first", Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == sha256


def test_parts_become_an_object_with_an_etag_of_etags(client: Any, double: R2) -> None:
    said = {"Metadata": {"sha256": "abc"}, "ContentType": "audio/flac", "StorageClass": "STANDARD_IA"}
    upload = begin(client, **said)
    bodies = [bytes([number]) * PART for number in range(3)] + [b"end"]
    finish = send(client, upload, *bodies)
    assert refused(client.head_object, Bucket="first", Key="k") == (404, "404")
    etag = client.complete_multipart_upload(**finish)["ETag"]
    joined = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    assert etag == f'"{joined}-4"'
    head = client.head_object(Bucket="first", Key="k")
    assert {name: head[name] for name in said} == said
    assert double.content("k") == b"".join(bodies)
    assert refused(client.complete_multipart_upload, **finish) == (404, "NoSuchUpload")


def test_a_checksum_of_parts_is_a_checksum_of_checksums(client: Any) -> None:
    upload = begin(client, ChecksumAlgorithm="SHA256")
    digest = hashlib.sha256(b"part").digest()
    said = b64encode(digest).decode()
    etag = client.upload_part(**upload, PartNumber=1, Body=b"part", ChecksumSHA256=said)["ETag"]
    parts = [{"PartNumber": 1, "ETag": etag, "ChecksumSHA256": said}]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    found = client.head_object(Bucket="first", Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"]
    assert found == f"{b64encode(hashlib.sha256(digest).digest()).decode()}-1"


@pytest.mark.parametrize(
    ("lengths", "code"),
    [
        ((PART, PART + 1, 1), "InvalidPart"),
        ((PART + 1, PART, 1), "InvalidPart"),
        ((PART, PART + 1), "InvalidPart"),
        ((PART - 1, PART - 1, 1), "EntityTooSmall"),
    ],
)
def test_parts_that_are_unequal_or_too_small_are_refused_at_the_end(
    client: Any, lengths: tuple[int, ...], code: str
) -> None:
    finish = send(client, begin(client), *(bytes(length) for length in lengths))
    assert refused(client.complete_multipart_upload, **finish) == (400, code)


def test_parts_that_never_came_or_have_another_etag_are_refused(client: Any) -> None:
    finish = send(client, begin(client), bytes(PART), b"end")
    parts = finish["MultipartUpload"]["Parts"]
    for wrong in ([*parts, {"PartNumber": 3, "ETag": parts[0]["ETag"]}], [parts[0] | {"ETag": '"0"'}, parts[1]]):
        finish["MultipartUpload"] = {"Parts": wrong}
        assert refused(client.complete_multipart_upload, **finish) == (400, "InvalidPart")
    finish["MultipartUpload"] = {"Parts": parts[::-1]}
    assert refused(client.complete_multipart_upload, **finish) == (400, "InvalidPartOrder")


def test_an_upload_that_was_aborted_is_not_known_any_more(client: Any, double: R2) -> None:
    upload = begin(client)
    client.abort_multipart_upload(**upload)
    assert refused(client.upload_part, **upload, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    assert refused(client.list_parts, **upload) == (404, "NoSuchUpload")
    assert refused(client.abort_multipart_upload, **upload) == (404, "NoSuchUpload")
    assert double.bucket().multiparts == {}


@pytest.mark.parametrize(("condition", "status"), [(Condition.HONOURED, 412), (Condition.REFUSED, 501)])
def test_a_condition_on_completion_counts_as_the_rules_say(
    client: Any, double: R2, condition: Condition, status: int
) -> None:
    client.put_object(Bucket="first", Key="k", Body=b"1")
    finish = send(client, begin(client), b"part")
    double.rules.completion = condition
    assert refused(client.complete_multipart_upload, **finish, IfNoneMatch="*")[0] == status
    double.rules.completion = Condition.IGNORED
    client.complete_multipart_upload(**finish, IfNoneMatch="*")


def test_lists_come_in_pages(client: Any) -> None:
    upload = send(client, begin(client, "up/a b"), *[bytes(PART)] * 5)
    listed = client.get_paginator("list_parts").paginate(
        **{name: upload[name] for name in ("Bucket", "Key", "UploadId")}, PaginationConfig={"PageSize": 2}
    )
    pages = [page["Parts"] for page in listed]
    assert [[part["PartNumber"] for part in page] for page in pages] == [[1, 2], [3, 4], [5]]
    assert pages[0][0]["Size"] == PART
    for key in ("up/a b", "up/é&", "other"):
        begin(client, key)
    listed = client.get_paginator("list_multipart_uploads").paginate(
        Bucket="first", Prefix="up/", PaginationConfig={"PageSize": 1}
    )
    assert [one["Key"] for page in listed for one in page["Uploads"]] == ["up/a b", "up/a b", "up/é&"]
    for key in ("in/é", "in/a b", "in/<", "out"):
        client.put_object(Bucket="first", Key=key, Body=b"")
    listed = client.get_paginator("list_objects_v2").paginate(
        Bucket="first", Prefix="in/", PaginationConfig={"PageSize": 2}
    )
    assert [[one["Key"] for one in page["Contents"]] for page in listed] == [["in/<", "in/a b"], ["in/é"]]


def test_many_objects_are_deleted_at_once(client: Any, double: R2) -> None:
    for key in ("a", "b", "c"):
        client.put_object(Bucket="first", Key=key, Body=b"")
    client.delete_objects(Bucket="first", Delete={"Objects": [{"Key": "a"}, {"Key": "c"}]})
    assert list(double.bucket().objects) == ["b"]


def test_a_bucket_says_what_is_configured(client: Any) -> None:
    client.head_bucket(Bucket="first")
    assert refused(client.head_bucket, Bucket="third") == (404, "404")
    assert refused(client.put_object, Bucket="third", Key="k", Body=b"") == (404, "NoSuchBucket")
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket="first")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert refused(client.get_bucket_cors, Bucket="first") == (404, "NoSuchCORSConfiguration")
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://example.org"]}]
    client.put_bucket_cors(Bucket="first", CORSConfiguration={"CORSRules": rules})
    assert client.get_bucket_cors(Bucket="first")["CORSRules"] == rules


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"Tagging": "a=b"}, (501, "NotImplemented")),
        ({"ACL": "private"}, (501, "NotImplemented")),
        ({"GrantRead": "id=1"}, (501, "NotImplemented")),
        ({"ObjectLockMode": "GOVERNANCE"}, (501, "NotImplemented")),
        ({"StorageClass": "GLACIER"}, (400, "InvalidStorageClass")),
        ({"Key": "k" * 1025}, (400, "KeyTooLongError")),
        ({"Metadata": {"name": "v" * 8189}}, (400, "MetadataTooLarge")),
    ],
)
def test_what_r2_does_not_have_is_refused(client: Any, arguments: dict[str, Any], answer: tuple[int, str]) -> None:
    assert refused(client.put_object, **{"Bucket": "first", "Key": "k", "Body": b""} | arguments) == answer
    assert refused(client.create_multipart_upload, **{"Bucket": "first", "Key": "k"} | arguments) == answer


def test_a_key_and_metadata_of_just_the_limit_pass(client: Any) -> None:
    client.put_object(Bucket="first", Key="k" * 1024, Body=b"", Metadata={"name": "v" * 8188})


def test_the_defaults_of_the_client_are_refused_for_their_trailers(bucket: Bucket, double: R2) -> None:
    client = connect(bucket, request_checksum_calculation="when_supported")
    assert refused(client.put_object, Bucket="first", Key="k", Body=bytes(100_000)) == (501, "NotImplemented")
    assert refused(client.upload_part, **begin(client), PartNumber=1, Body=b"x") == (501, "NotImplemented")
    client.close()
    assert double.requests("PutObject")[0].headers["content-encoding"] == "aws-chunked"


def test_a_second_write_of_a_key_at_once_is_one_too_many(client: Any, double: R2) -> None:
    double.rules.write_pause = 1000.0
    client.put_object(Bucket="first", Key="k", Body=b"1")
    assert refused(client.put_object, Bucket="first", Key="k", Body=b"2") == (429, "TooManyRequests")
    client.put_object(Bucket="first", Key="other", Body=b"1")
    finish = send(client, begin(client), b"part")
    assert refused(client.complete_multipart_upload, **finish) == (429, "TooManyRequests")
    double.rules.write_pause = 0.0
    client.complete_multipart_upload(**finish)
    assert double.content("k") == b"part"


def test_a_body_without_a_length_is_refused(bucket: Bucket) -> None:
    context = ssl.create_default_context(cafile=bucket.ca)
    connection = http.client.HTTPSConnection(bucket.endpoint_url.removeprefix("https://"), context=context)
    connection.request("PUT", "/first/k", iter([b"a", b"b"]))  # in chunked coding, as it has no length
    answer = connection.getresponse()
    assert (answer.status, b"MissingContentLength" in answer.read()) == (411, True)
    connection.close()


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"secret": "wrong"}, (403, "SignatureDoesNotMatch")),
        ({"access_key": "wrong"}, (401, "Unauthorized")),
        ({"region": "us-west-1"}, (400, "InvalidRegionName")),
    ],
)
def test_a_request_must_be_signed_as_it_should(
    bucket: Bucket, options: dict[str, str], answer: tuple[int, str]
) -> None:
    words = {name: getattr(bucket, name) for name in bucket.__struct_fields__}
    client = connect(Bucket(**words | options))
    assert refused(client.put_object, Bucket="first", Key="k", Body=b"x") == answer
    client.close()


def test_the_key_of_a_day_is_that_of_the_published_example() -> None:
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830/us-east-1/iam/aws4_request")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


def test_a_body_or_a_header_that_was_not_signed_is_refused() -> None:
    def spoil(request: AWSPreparedRequest, **_: Any) -> None:
        if request.method == "PUT":
            request.body = b"other"
        else:
            request.headers["x-amz-added"] = "1"

    with R2(tls=False) as double:  # without TLS this client signs what a body hashes to
        client = connect(at_double(double))
        client.meta.events.register("before-send.s3", spoil)
        assert refused(client.put_object, Bucket="first", Key="k", Body=b"hello") == (400, "XAmzContentSHA256Mismatch")
        assert refused(client.delete_object, Bucket="first", Key="k") == (403, "AccessDenied")
        client.close()


@pytest.mark.parametrize("skew", [901, -901])
def test_a_clock_that_is_wrong_is_refused(client: Any, double: R2, skew: int) -> None:
    double.skew = skew
    assert refused(client.list_objects_v2, Bucket="first") == (403, "RequestTimeTooSkewed")
    double.skew = skew * 0.9
    client.list_objects_v2(Bucket="first")


def test_a_presigned_address_is_good_for_its_time_and_its_key(bucket: Bucket, client: Any, double: R2) -> None:
    client.put_object(Bucket="first", Key="a/ü b", Body=b"hello")
    asked = {"Bucket": "first", "Key": "a/ü b", "ResponseContentDisposition": 'attachment; filename="a b"'}
    url = client.generate_presigned_url("get_object", Params=asked, ExpiresIn=60)
    assert fetch(url, bucket.ca) == (200, b"hello")
    assert fetch(url.replace("a%20b", "other"), bucket.ca)[0] == 403
    assert fetch(url.partition("?")[0], bucket.ca)[0] == 401
    double.skew = 100.0
    status, text = fetch(url, bucket.ca)
    assert (status, b"ExpiredRequest" in text) == (400, True)
    long = client.generate_presigned_url("get_object", Params=asked, ExpiresIn=604_801)
    assert fetch(long, bucket.ca)[0] == 400


def test_a_client_that_waits_for_a_word_before_the_body_hears_it_only_where_the_rules_say_so(
    bucket: Bucket, double: R2
) -> None:
    client = connect(bucket, expects=True, connect_timeout=0.5)
    with pytest.raises(HTTPClientError):  # boto/botocore#3613
        client.put_object(Bucket="first", Key="k", Body=b"hello")
    double.rules.continues = True
    client.put_object(Bucket="first", Key="k", Body=b"hello")
    client.close()


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault(status=500), (500, "InternalError")),
        (Fault(status=503, retry_after="7"), (503, "ServiceUnavailable")),
        (Fault(status=429, retry_after="7"), (429, "TooManyRequests")),
        (Fault(status=403, code="AccessDenied"), (403, "AccessDenied")),
        (Fault(status=500, late=True), (500, "InternalError")),
    ],
)
def test_an_answer_is_given_in_place_of_the_real_one(
    client: Any, double: R2, fault: Fault, answer: tuple[int, str]
) -> None:
    double.inject(fault)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="first", Key="k", Body=b"hello")
    found = caught.value.response
    assert (found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"]) == answer
    assert found["ResponseMetadata"]["HTTPHeaders"].get("retry-after", "") == fault.retry_after
    assert ("k" in double.bucket().objects) == fault.late
    client.put_object(Bucket="first", Key="k", Body=b"hello")


@pytest.mark.parametrize("cut", [Cut.HEAD, Cut.MIDDLE, Cut.BODY, Cut.ANSWER])
def test_a_connection_is_cut_where_the_fault_says(client: Any, double: R2, cut: Cut) -> None:
    double.inject(Fault(operation="PutObject", cut=cut))
    body = bytes(1 << 21)
    with pytest.raises(BotoCoreError):  # one that is cut while it writes under TLS calls it an error of TLS
        client.put_object(Bucket="first", Key="k", Body=body)
    (seen,) = double.requests("PutObject")
    assert seen.fault is not None
    assert ("k" in double.bucket().objects) == (cut is Cut.ANSWER)
    assert (seen.length == 0) == (cut is Cut.HEAD)
    assert (seen.length == len(body)) == (cut in {Cut.BODY, Cut.ANSWER})
    client.put_object(Bucket="first", Key="k", Body=body)


def test_half_of_an_answer_is_sent(client: Any, double: R2) -> None:
    double.inject(Fault(operation="*Object", cut=Cut.HALF, times=None))
    # This client takes half of a head for a whole one: the answer is 200 and says nothing.
    assert "ETag" not in client.put_object(Bucket="first", Key="k", Body=bytes(1 << 20))
    assert len(double.content("k")) == 1 << 20
    with pytest.raises((HTTPClientError, OSError)):
        client.get_object(Bucket="first", Key="k")["Body"].read()


def test_only_the_requests_that_are_named_go_wrong(client: Any, double: R2) -> None:
    matched = double.inject(Fault(operation="UploadPart", key="a*", nth=2, times=2, status=500))
    outcome = []
    for key in ("a", "b"):
        upload = begin(client, key)
        for number in range(1, 6):
            try:
                client.upload_part(**upload, PartNumber=number, Body=b"x")
            except ClientError:
                outcome.append((key, number))
    assert outcome == [("a", 2), ("a", 3)]
    assert [one.part for one in matched] == [1, 2, 3, 4, 5]
    double.inject(Fault(operation="UploadPart", part=3, times=None, status=500))
    assert refused(client.upload_part, **upload, PartNumber=3, Body=b"x")[0] == 500
    assert refused(client.upload_part, **upload, PartNumber=3, Body=b"x")[0] == 500
    double.calm()
    client.upload_part(**upload, PartNumber=3, Body=b"x")


def test_an_error_may_hide_behind_a_status_of_success(client: Any, double: R2) -> None:
    finish = send(client, begin(client), b"part")
    double.inject(Fault(operation="CompleteMultipartUpload", status=200, code="InternalError"))
    assert refused(client.complete_multipart_upload, **finish)[1] == "InternalError"


def test_silence_lasts_longer_than_the_patience_of_a_client(bucket: Bucket, double: R2) -> None:
    client = connect(bucket, read_timeout=0.3)
    gate = threading.Event()
    double.inject(Fault(operation="HeadObject", gate=gate))
    with pytest.raises(ReadTimeoutError):
        client.head_object(Bucket="first", Key="k")
    gate.set()
    double.inject(Fault(operation="GetObject", hang=1.0))
    with pytest.raises(ReadTimeoutError):
        client.get_object(Bucket="first", Key="k")
    client.close()


def test_a_slow_answer_and_a_slow_reader_change_no_byte(client: Any, double: R2) -> None:
    body = bytes(range(256)) * 256
    double.pace.rate = 1_000_000
    client.put_object(Bucket="first", Key="k", Body=body)
    double.inject(Fault(operation="GetObject", rate=1_000_000))
    assert client.get_object(Bucket="first", Key="k")["Body"].read() == body


def test_the_moment_of_a_fault_is_told_while_the_client_waits(client: Any, double: R2) -> None:
    struck: list[tuple[str, int, int, bool]] = []

    def strike(seen: Seen) -> None:
        struck.append((seen.key, seen.length, seen.status, "k" in double.bucket().objects))

    for late in (False, True):
        double.inject(Fault(operation="PutObject", strike=strike, late=late))
        client.put_object(Bucket="first", Key="k", Body=b"x")
    assert struck == [("k", 1, 0, False), ("k", 1, 0, True)]


def test_a_double_that_is_down_lets_nobody_in_until_it_is_up_again(client: Any, double: R2) -> None:
    client.put_object(Bucket="first", Key="k", Body=b"x")
    double.down()
    with pytest.raises(EndpointConnectionError):
        client.head_object(Bucket="first", Key="k")
    double.up()
    assert client.head_object(Bucket="first", Key="k")["ContentLength"] == 1


def test_a_double_may_go_down_in_the_middle_of_a_request(client: Any, double: R2) -> None:
    double.inject(Fault(operation="PutObject", strike=lambda _seen: double.down()))
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket="first", Key="k", Body=b"x")
    double.up()
    client.put_object(Bucket="first", Key="n", Body=b"x")


def test_every_request_is_recorded(client: Any, double: R2) -> None:
    upload = begin(client, Metadata={"a": "b"})
    client.upload_part(**upload, PartNumber=1, Body=b"12345")
    first, second = double.wait(count=2, answered=True)
    assert (first.operation, first.bucket, first.key, first.status) == ("CreateMultipartUpload", "first", "k", 200)
    assert first.headers["x-amz-meta-a"] == "b"
    assert (second.operation, second.part, second.length) == ("UploadPart", 1, 5)
    assert second.query["uploadId"] == upload["UploadId"]
    assert double.requests("*Part", "other") == []


def test_bytes_may_be_kept_in_files(tmp_path: Path) -> None:
    with R2(folder=tmp_path, rules=Rules(part_minimum=1)) as double:
        client = connect(at_double(double))
        client.complete_multipart_upload(**send(client, begin(client), b"0123", b"45"))
        assert client.get_object(Bucket="first", Key="k", Range="bytes=3-4")["Body"].read() == b"34"
        client.close()
    assert sorted(file.stat().st_size for file in tmp_path.iterdir() if file.stat().st_size < 10) == [2, 4]


def test_without_tls_the_same_client_hides_its_trailers() -> None:
    with R2(tls=False) as double:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=double.url,
            region_name="auto",
            aws_access_key_id=double.access_key,
            aws_secret_access_key=double.secret,
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.put_object(Bucket="first", Key="k", Body=b"hello")
        client.close()
        assert "x-amz-trailer" not in double.seen[0].headers
