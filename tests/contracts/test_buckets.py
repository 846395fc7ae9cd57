"""What the servers that we test the store with agree on, so that its contract may ask it of all of them."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rig.buckets import Bucket, Fresh, connect

SAID = {
    "Metadata": {"sha256": "abc"},
    "ContentType": "audio/flac",
    "CacheControl": "public, max-age=1",
    "ContentDisposition": "attachment; filename*=UTF-8''%C3%A9",
}


@pytest.fixture
def client(bucket: Bucket) -> Iterator[Any]:
    made = connect(bucket)
    yield made
    made.close()


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def send(client: Any, upload: dict[str, str], bodies: list[bytes]) -> list[dict[str, Any]]:
    return [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]


def test_an_object_is_put_once_read_in_parts_and_deleted(bucket: Bucket, client: Any) -> None:
    at = {"Bucket": bucket.name, "Key": "objects/a é"}
    client.put_object(**at, Body=b"0123456789", IfNoneMatch="*", **SAID)
    assert code(client.put_object, **at, Body=b"other", IfNoneMatch="*") == "PreconditionFailed"
    head = client.head_object(**at)
    assert {name: head[name] for name in SAID} == SAID
    assert head["ETag"] == f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    assert client.get_object(**at, Range="bytes=3-5")["Body"].read() == b"345"
    assert [one["Key"] for one in client.list_objects_v2(Bucket=bucket.name)["Contents"]] == [at["Key"]]
    assert "Contents" not in client.list_objects_v2(Bucket=bucket.other)
    client.delete_object(**at)
    assert code(client.head_object, **at) == "404"


def test_parts_are_listed_and_become_an_object(bucket: Bucket, client: Any) -> None:
    bodies = [bytes(bucket.part), bytes(bucket.part), b"end"]
    at = {"Bucket": bucket.name, "Key": "objects/b"}
    upload = at | {"UploadId": client.create_multipart_upload(**at, **SAID)["UploadId"]}
    parts = send(client, upload, bodies)
    listed = client.list_parts(**upload)["Parts"]
    assert [(one["PartNumber"], one["ETag"], one["Size"]) for one in listed] == [
        (part["PartNumber"], part["ETag"], len(body)) for part, body in zip(parts, bodies, strict=True)
    ]
    (waiting,) = client.list_multipart_uploads(Bucket=bucket.name, Prefix="objects/")["Uploads"]
    assert (waiting["Key"], waiting["UploadId"]) == (at["Key"], upload["UploadId"])
    etag = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"]
    joined = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    assert etag == f'"{joined}-3"'
    head = client.head_object(**at)
    assert {name: head[name] for name in SAID} == SAID
    assert head["ContentLength"] == sum(map(len, bodies))


def test_an_upload_that_was_aborted_is_not_known_any_more(bucket: Bucket, client: Any) -> None:
    at = {"Bucket": bucket.name, "Key": "objects/c"}
    upload = at | {"UploadId": client.create_multipart_upload(**at)["UploadId"]}
    send(client, upload, [b"part"])
    client.abort_multipart_upload(**upload)
    assert code(client.list_parts, **upload) == "NoSuchUpload"
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket.name)


@pytest.mark.e2e
def test_a_gateway_honours_a_condition_on_completion(versitygw: Fresh) -> None:
    bucket = versitygw()
    client = connect(bucket)
    at = {"Bucket": bucket.name, "Key": "k"}
    client.put_object(**at, Body=b"first")
    upload = at | {"UploadId": client.create_multipart_upload(**at)["UploadId"]}
    finish = {"MultipartUpload": {"Parts": send(client, upload, [b"part"])}}
    assert code(client.complete_multipart_upload, **upload, **finish, IfNoneMatch="*") == "PreconditionFailed"
    assert client.get_object(**at)["Body"].read() == b"first"
    client.close()
