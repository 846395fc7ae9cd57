"""What the store on S3 promises beyond the contract of `Store`: how it asks, what it survives, what it says."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import time
import urllib.request
from email.utils import formatdate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig import buckets
from rig.journal import RecordingJournal
from rig.r2 import R2, Cut, Fault
from rig.r2_faults import page
from rig.r2_state import Rules
from rig.s3 import MIB, Watched, options, raw, unfinished
from tusplyr.core.errors import BytesLost, Conflict, LedgerDown, SpoolDown, StoreDown, Suspended
from tusplyr.core.model import Content
from tusplyr.ports import Staged
from tusplyr.stores.s3_carry import PATIENCE
from tusplyr.stores.s3_options import S3Options
from tusplyr.stores.s3_parts import MOST, READ, Window, composite, part_count, part_size

TIB = 1 << 40
SHORT = b"the whole content"


class Rig:
    """A bucket, a journal, and a store that can be thrown away and made again, as by a restart."""

    def __init__(self, bucket, **other) -> None:
        self.bucket = bucket
        self.other = other
        self.now = 1000.0
        self.needed = set()
        self.journal = RecordingJournal(lambda: self.now, self.needed.__contains__)
        self.stores = []
        self.client = raw(bucket)
        self.store = self.restarted()
        self.long = os.urandom(3 * bucket.part + 1)  # four parts

    def restarted(self, **other) -> Watched:
        self.store = Watched(options(self.bucket, **self.other | other), self.journal)
        self.stores.append(self.store)
        return self.store

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.client.close()

    def put(self, content, data, **headers) -> None:
        self.client.put_object(Bucket=self.bucket.name, Key=content.key, Body=data, **headers)

    def head(self, content):
        return self.client.head_object(Bucket=self.bucket.name, Key=content.key)

    def stored(self, content) -> bytes:
        return self.client.get_object(Bucket=self.bucket.name, Key=content.key)["Body"].read()

    def assert_stored(self, content, data) -> None:
        assert self.stored(content) == data
        assert self.head(content)["Metadata"] == {"sha256": content.sha256}

    def assert_whole(self, content, data) -> None:
        self.assert_stored(content, data)
        assert unfinished(self.bucket) == []
        assert self.journal.abandoned() == []


def content_of(data, extension=".wav", folder="audio") -> Content:
    sha256 = hashlib.sha256(data).hexdigest()
    return Content(f"{folder}/{sha256[:16]}{extension}", sha256, len(data))


def staged(data, source="upload") -> Staged:
    return Staged(source, lambda: io.BytesIO(data))


@pytest.fixture
def rig(bucket):
    made = Rig(bucket)
    yield made
    made.close()


@pytest.fixture
def r2():
    """The double alone: what can only be seen from the server's side."""
    with buckets.r2(part_minimum=64 * 1024) as bucket:
        made = Rig(bucket)
        yield made
        made.close()


# How a content is cut


@given(length=st.integers(1, 5 * TIB), preferred=st.integers(5 * MIB, 200 * MIB))
def test_all_parts_but_the_last_are_equal_and_ten_thousand_are_enough(length, preferred):
    size = part_size(length, preferred)
    count = part_count(length, size)
    last = length - (count - 1) * size
    assert 1 <= count <= MOST
    assert 0 < last <= size
    assert size >= preferred
    assert size == preferred or size % MIB == 0
    assert size == preferred or part_count(length, size - MIB) > MOST


@pytest.mark.parametrize("length", [1, 16 * MIB, 16 * MIB + 1, MOST * 16 * MIB, MOST * 16 * MIB + 1, 5 * TIB])
def test_parts_grow_only_where_they_must(length):
    expected = {MOST * 16 * MIB + 1: 17 * MIB, 5 * TIB: 525 * MIB}.get(length, 16 * MIB)
    assert part_size(length, 16 * MIB) == expected


def test_the_etag_of_parts_is_the_md5_of_their_md5s():
    md5s = [hashlib.md5(piece) for piece in (b"first", b"second")]
    expected = hashlib.md5(md5s[0].digest() + md5s[1].digest()).hexdigest() + "-2"
    assert composite({2: f'"{md5s[1].hexdigest()}"', 1: f'"{md5s[0].hexdigest()}"'}) == expected
    assert composite({1: '"not an md5"'}) == ""


@given(
    data=st.binary(max_size=100),
    start=st.integers(0, 50),
    length=st.integers(0, 50),
    reads=st.lists(st.integers(-1, 9)),
)
def test_a_window_is_a_file_of_its_own(data, start, length, reads):
    window = Window(io.BytesIO(data + bytes(100)), start, length, lambda: False)
    same = io.BytesIO((data + bytes(100))[start : start + length])
    assert window.digests(sha256=True).sha256 == hashlib.sha256(same.getvalue()).hexdigest()
    for size in reads:
        assert window.read(size) == same.read(size)
        assert window.tell() == same.tell()
    assert window.seek(0, os.SEEK_END) == length
    assert window.read() == b""


def test_a_window_never_reads_more_than_its_bound():
    window = Window(io.BytesIO(bytes(3 * READ)), 0, 3 * READ, lambda: False)
    assert len(window.read()) == len(window.read(2 * READ)) == READ


# How it asks


def test_a_short_content_is_one_request(rig):
    rig.restarted(single_put_limit=16 * MIB)
    data = os.urandom(3 * MIB)
    content = content_of(data)
    assert rig.store.publish(content, staged(data))
    assert rig.store.calls == ["PutObject"]
    assert rig.journal.calls == []
    rig.assert_whole(content, data)


def test_a_content_of_n_parts_is_n_and_three_requests(rig):
    content = content_of(rig.long)
    assert rig.store.publish(content, staged(rig.long))
    assert sorted(rig.store.calls) == sorted(
        ["HeadObject", "CreateMultipartUpload", *["UploadPart"] * 4, "CompleteMultipartUpload"]
    )
    assert rig.journal.calls == ["intend", "begin", *["land"] * 4, "forget"]
    rig.assert_whole(content, rig.long)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_what_ends_on_a_part_has_no_empty_one(rig, more):
    data = os.urandom(2 * rig.bucket.part + more)
    assert rig.store.publish(content_of(data), staged(data))
    assert rig.store.calls.count("UploadPart") == (3 if more > 0 else 2)
    rig.assert_whole(content_of(data), data)


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize(
    ("folder", "extension", "media_type"),
    [
        ("audio", ".wav", "audio/wav"),
        ("audio", ".aiff", "audio/aiff"),
        ("files", "", "application/octet-stream"),
        ("images", ".png", "image/png"),
    ],
)
def test_an_object_says_what_it_is(rig, long, folder, extension, media_type):
    data = rig.long if long else SHORT
    content = content_of(data, extension, folder)
    assert rig.store.publish(content, staged(data))
    name = rig.bucket.other if folder == "images" else rig.bucket.name
    head = rig.client.head_object(Bucket=name, Key=content.key)
    assert head["ContentType"] == media_type
    assert head["CacheControl"] == "public, max-age=31536000, immutable"
    file = content.key.partition("/")[2]
    assert head["ContentDisposition"] == f"attachment; filename=\"{file}\"; filename*=UTF-8''{file}"
    assert head["Metadata"] == {"sha256": content.sha256}


def test_a_prefix_goes_before_every_key_and_others_are_not_ours(rig):
    rig.put(content_of(b"other"), b"other")
    rig.restarted(prefix="here/")
    for data in (SHORT, rig.long):
        content = content_of(data)
        assert rig.store.publish(content, staged(data))
        assert rig.client.head_object(Bucket=rig.bucket.name, Key="here/" + content.key)["ContentLength"] == len(data)
        assert rig.store.has(content)
    assert sorted(rig.store.keys()) == sorted([content_of(SHORT).key, content_of(rig.long).key])


def test_every_body_is_framed_and_checked_as_r2_wants_it(r2):
    for data in (SHORT, r2.long):
        assert r2.store.publish(content_of(data), staged(data))
    bodies = [seen for seen in r2.bucket.double.seen if seen.method == "PUT"]
    assert len(bodies) == 5
    for seen in bodies:
        assert "content-md5" in seen.headers
        assert "expect" not in seen.headers
        assert "x-amz-trailer" not in seen.headers
        assert seen.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


def test_without_tls_the_md5_of_a_body_is_signed_and_the_body_is_not():
    with R2(tls=False) as double:
        rig = Rig(buckets.at_double(double))
        for data in (SHORT, rig.long):
            assert rig.store.publish(content_of(data), staged(data))
        rig.close()
        bodies = [seen for seen in double.seen if seen.method == "PUT"]
    assert len(bodies) == 5
    for seen in bodies:
        assert "content-md5" in seen.headers["authorization"]
        assert seen.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


def test_a_storage_class_is_asked_for_where_one_is_set(r2):
    r2.restarted(storage_class="STANDARD_IA")
    for data in (SHORT, r2.long):
        assert r2.store.publish(content_of(data), staged(data))
    described = [seen for seen in r2.bucket.double.seen if seen.operation in {"PutObject", "CreateMultipartUpload"}]
    assert [seen.headers["x-amz-storage-class"] for seen in described] == ["STANDARD_IA"] * 2


def test_never_more_parts_at_once_than_set_over_all_contents(rig):
    rig.restarted(concurrency=2)
    under_way, most, lock = [0], [0], threading.Lock()
    send = rig.store._client.upload_part

    def counted(*given):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        try:
            return send(*given)
        finally:
            with lock:
                under_way[0] -= 1

    rig.store._client.upload_part = counted
    contents = [rig.long, rig.long[::-1], rig.long[1:]]
    together([lambda data=data: rig.store.publish(content_of(data), staged(data)) for data in contents])
    assert most == [2]
    for data in contents:
        rig.assert_whole(content_of(data), data)


# What is there already


def test_what_somebody_else_has_put_there_is_read_before_it_is_believed(rig):
    for data in (SHORT, rig.long):
        content = content_of(data)
        rig.put(content, data)
        assert rig.store.publish(content, staged(data))
        assert "Metadata" not in rig.head(content) or rig.head(content)["Metadata"] == {}
        rig.put(content, data[::-1])
        with pytest.raises(Conflict):
            rig.store.publish(content, staged(data))
        assert rig.stored(content) == data[::-1]
    assert unfinished(rig.bucket) == []


def test_what_somebody_else_has_put_there_is_read_once(rig):
    content = content_of(SHORT)
    rig.put(content, SHORT[::-1])
    for _ in range(3):
        with pytest.raises(Conflict):
            rig.store.publish(content, staged(SHORT))
    assert rig.store.calls.count("GetObject") == 1
    rig.put(content, SHORT)
    assert rig.store.publish(content, staged(SHORT))


def test_what_carries_another_digest_is_not_the_content_however_long_it_is(rig):
    content = content_of(SHORT)
    for metadata, there in [({}, True), ({"sha256": content.sha256}, True), ({"sha256": "0" * 64}, False)]:
        rig.put(content, SHORT[::-1], Metadata=metadata)
        assert rig.store.has(content) is there


def test_a_long_content_is_not_sent_again(rig):
    content = content_of(rig.long)
    assert rig.store.publish(content, staged(rig.long))
    before = len(rig.store.calls)
    assert rig.store.publish(content, staged(rig.long))
    assert rig.store.calls[before:] == ["HeadObject"]


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_of_two_at_once_one_sends_and_both_succeed(rig, long):
    data = rig.long if long else SHORT
    content = content_of(data)
    results = together([lambda: rig.store.publish(content, staged(data))] * 2)
    assert results == [True, True]
    assert rig.store.calls.count("UploadPart") == (4 if long else 0)
    rig.assert_whole(content, data)


def test_one_write_a_second_for_each_key_is_enough(r2):
    r2.bucket.double.rules.write_pause = 60.0
    for data in (SHORT, r2.long):
        content, meet = content_of(data), threading.Barrier(3, timeout=10)
        hold = r2.store._keys.hold

        def held(key, halted, hold=hold, meet=meet):
            meet.wait()  # all three are about to ask for the key before one of them has it
            return hold(key, halted)

        r2.store._keys.hold = held
        assert together([lambda c=content, d=data: r2.store.publish(c, staged(d))] * 3) == [True] * 3
        r2.store._keys.hold = hold
        r2.assert_whole(content, data)


def test_of_two_processes_at_once_both_succeed_with_one_object(rig):
    """Each with a journal of its own; that is not meant to be, and loses nothing."""
    other = Watched(options(rig.bucket), RecordingJournal())
    rig.stores.append(other)
    content = content_of(rig.long)
    meet = threading.Barrier(2)
    for store in (rig.store, other):
        store.then = lambda number: meet.wait(10) if number == 2 else None  # both have found nothing
    assert together([lambda s=s: s.publish(content, staged(rig.long)) for s in (rig.store, other)]) == [True, True]
    rig.assert_whole(content, rig.long)


# What it survives


@pytest.mark.parametrize("fault", ["lose", "deafen"])
@pytest.mark.parametrize("number", range(1, 8))
def test_after_a_failure_at_any_request_another_process_ends_what_was_begun(rig, fault, number):
    setattr(rig.store, fault, number)
    content = content_of(rig.long)
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    landed = sum(len(transfer.parts) for transfer in rig.journal.abandoned())
    first = rig.store
    assert rig.restarted().publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)
    if first.calls[number - 1] == "CompleteMultipartUpload" and fault == "deafen":
        assert "UploadPart" not in rig.store.calls
    else:
        assert rig.store.calls.count("UploadPart") == 4 - landed
    if first.calls[number - 1] == "UploadPart":
        assert landed == 3, "the parts that were under way have landed"


@pytest.mark.parametrize("number", range(1, 8))
def test_after_a_failure_of_the_journal_at_any_call_another_process_ends_what_was_begun(rig, number):
    rig.journal.failing = {number: LedgerDown("it is down")}
    content = content_of(rig.long)
    with pytest.raises(LedgerDown):
        rig.store.publish(content, staged(rig.long))
    assert rig.restarted().publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)


def test_where_transfers_may_not_be_listed_an_intent_without_an_id_keeps_nothing_from_being_published(r2, caplog):
    content = content_of(r2.long)
    r2.journal.intend(content.key, content.sha256, "upload", r2.bucket.part)
    r2.bucket.double.inject(Fault(operation="ListMultipartUploads", status=403, code="AccessDenied", times=None))
    assert r2.store.publish(content, staged(r2.long))
    r2.assert_stored(content, r2.long)
    assert content.key in caplog.text
    r2.journal.intend(content.key, content.sha256, "upload", r2.bucket.part)
    assert r2.store.publish(content, staged(r2.long)), "it is there, whatever else cannot be removed"
    r2.journal.forget(content.key)
    r2.restarted(attempts=3)
    other = content_of(r2.long[1:])
    r2.bucket.double.inject(Fault(operation="CreateMultipartUpload", cut=Cut.ANSWER))
    assert r2.store.publish(other, staged(r2.long[1:]))
    r2.assert_stored(other, r2.long[1:])


def test_a_bucket_that_is_away_while_it_is_cleaned_is_a_failure_as_any_other(r2):
    content = content_of(r2.long)
    r2.journal.intend(content.key, content.sha256, "upload", r2.bucket.part)
    r2.bucket.double.inject(Fault(operation="ListMultipartUploads", cut=Cut.HEAD))
    with pytest.raises(StoreDown):
        r2.store.publish(content, staged(r2.long))
    assert r2.journal.find(content.key), "what may have begun is not forgotten for that"
    assert r2.store.publish(content, staged(r2.long))


def test_a_transfer_of_more_parts_than_there_may_be_is_not_gone_on_with(r2):
    data = os.urandom(MOST + 1)
    content = content_of(data)
    r2.restarted(single_put_limit=0)
    r2.journal.intend(content.key, content.sha256, "upload", 1)
    begun = r2.client.create_multipart_upload(Bucket=r2.bucket.name, Key=content.key)
    r2.journal.begin(content.key, begun["UploadId"])
    assert r2.store.publish(content, staged(data))
    r2.assert_whole(content, data)


def test_an_intent_without_an_id_aborts_what_has_begun_under_exactly_its_key(rig):
    content = content_of(rig.long)
    longer = content.key + "x"
    rig.journal.intend(content.key, content.sha256, "upload", rig.bucket.part)
    for key in (content.key, content.key, longer):
        rig.client.create_multipart_upload(Bucket=rig.bucket.name, Key=key)
    assert rig.store.publish(content, staged(rig.long))
    assert unfinished(rig.bucket) == [longer]
    assert rig.stored(content) == rig.long


def test_a_transfer_that_vanished_is_begun_again(r2):
    content = content_of(r2.long)
    r2.store.lose = 7
    with pytest.raises(StoreDown):
        r2.store.publish(content, staged(r2.long))
    begun = r2.journal.find(content.key)
    assert len(begun.parts) == 4
    r2.client.abort_multipart_upload(Bucket=r2.bucket.name, Key=content.key, UploadId=begun.id)
    assert r2.restarted().publish(content, staged(r2.long))
    assert r2.store.calls.count("UploadPart") == 4
    r2.assert_whole(content, r2.long)


def test_a_transfer_is_gone_on_with_in_the_parts_in_which_it_was_begun(rig):
    content = content_of(rig.long)
    rig.store.lose = 6
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    assert rig.restarted(part_size=2 * rig.bucket.part).publish(content, staged(rig.long))
    assert rig.store.calls.count("UploadPart") == 1
    rig.assert_whole(content, rig.long)


def test_parts_of_another_content_with_the_same_key_are_never_used(rig):
    content = content_of(rig.long)
    rig.store.lose = 7
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    data = os.urandom(len(rig.long))
    other = Content(content.key, hashlib.sha256(data).hexdigest(), len(data))
    assert rig.restarted().publish(other, staged(data))
    rig.assert_whole(other, data)


def test_parts_that_are_not_those_that_were_written_down_are_sent_again(rig):
    content = content_of(rig.long)
    rig.store.lose = 7
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    begun = {"Bucket": rig.bucket.name, "Key": content.key, "UploadId": rig.journal.find(content.key).id}
    rig.client.upload_part(**begun, PartNumber=1, Body=bytes(rig.bucket.part))
    with pytest.raises(StoreDown, match="sent again"):
        rig.restarted().publish(content, staged(rig.long))
    assert rig.store.publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)


def test_parts_of_which_nothing_can_be_made_are_let_go_where_they_may_not_be_aborted(r2):
    for operation, code in (("CompleteMultipartUpload", "InvalidPart"), ("AbortMultipartUpload", "AccessDenied")):
        r2.bucket.double.inject(Fault(operation=operation, status=400 if "Part" in code else 403, code=code))
    content = content_of(r2.long)
    with pytest.raises(StoreDown, match="sent again"):
        r2.store.publish(content, staged(r2.long))
    assert r2.store.publish(content, staged(r2.long))
    assert r2.store.calls.count("UploadPart") == 8
    r2.assert_stored(content, r2.long)


def test_parts_that_were_too_small_are_not_gone_on_with(rig):
    rig.restarted(part_size=rig.bucket.part // 2)
    content = content_of(rig.long)
    with pytest.raises(StoreDown, match="raise the part size"):
        rig.store.publish(content, staged(rig.long))
    assert rig.restarted().publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)


def test_an_answer_to_the_last_request_that_is_lost_costs_nothing(r2):
    r2.restarted(attempts=3)
    r2.bucket.double.inject(Fault(operation="CompleteMultipartUpload", cut=Cut.ANSWER))
    content = content_of(r2.long)
    assert r2.store.publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)
    assert r2.store.calls.count("UploadPart") == 4


def test_an_answer_to_a_put_that_is_lost_costs_nothing(r2):
    r2.restarted(attempts=3)
    r2.bucket.double.inject(Fault(operation="PutObject", cut=Cut.ANSWER))
    assert r2.store.publish(content_of(SHORT), staged(SHORT))
    r2.assert_whole(content_of(SHORT), SHORT)


def test_a_transfer_whose_first_answer_was_lost_leaves_no_second_one(r2):
    r2.restarted(attempts=3)
    r2.bucket.double.inject(Fault(operation="CreateMultipartUpload", cut=Cut.ANSWER))
    assert r2.store.publish(content_of(r2.long), staged(r2.long))
    r2.assert_whole(content_of(r2.long), r2.long)


@pytest.mark.parametrize("cut", [Cut.HEAD, Cut.MIDDLE, Cut.BODY])
def test_a_part_that_is_cut_is_sent_again(r2, cut):
    r2.restarted(attempts=3)
    r2.bucket.double.inject(Fault(operation="UploadPart", part=2, cut=cut))
    assert r2.store.publish(content_of(r2.long), staged(r2.long))
    r2.assert_whole(content_of(r2.long), r2.long)


def test_an_error_that_is_told_after_the_answer_has_begun_is_no_success(r2):
    r2.bucket.double.inject(Fault(operation="CompleteMultipartUpload", status=200, code="InternalError"))
    with pytest.raises(StoreDown):
        r2.store.publish(content_of(r2.long), staged(r2.long))
    assert r2.store.publish(content_of(r2.long), staged(r2.long))
    r2.assert_whole(content_of(r2.long), r2.long)


# What it does not believe


def cut_short(rig):
    def strike(seen):
        rig.bucket.double.bucket(seen.bucket).objects[seen.key].blobs[-1].length -= 1

    return strike


def unnamed(rig):
    def strike(seen):
        del rig.bucket.double.bucket(seen.bucket).objects[seen.key].headers["x-amz-meta-sha256"]

    return strike


def gone(rig):
    return lambda seen: rig.bucket.double.bucket(seen.bucket).objects.pop(seen.key)


def other_etag(reply):
    if "ETag" in reply.headers:
        reply.headers["ETag"] = '"another"'
    else:
        reply.body = [b"".join(reply.body).replace(b"ETag>", b"Tag>")]
    return reply


KINDS = [pytest.param(SHORT, "PutObject", id="short"), pytest.param(None, "CompleteMultipartUpload", id="long")]


@pytest.mark.parametrize("made", [cut_short, unnamed, gone])
@pytest.mark.parametrize(("data", "operation"), KINDS)
def test_an_object_that_is_not_what_was_sent_is_no_success(r2, made, data, operation):
    data = data or r2.long
    r2.bucket.double.inject(Fault(operation=operation, late=True, strike=made(r2), alter=other_etag))
    with pytest.raises(StoreDown, match="not what was sent"):
        r2.store.publish(content_of(data), staged(data))


@pytest.mark.parametrize(("data", "operation"), KINDS)
def test_where_etags_are_made_otherwise_the_object_is_looked_at(r2, data, operation):
    data = data or r2.long
    r2.bucket.double.inject(Fault(operation=operation, alter=other_etag))
    assert r2.store.publish(content_of(data), staged(data))
    assert r2.store.calls[-1] == "HeadObject"
    r2.assert_whole(content_of(data), data)


ASKED = [
    (SHORT, "PutObject"),
    (None, "HeadObject"),
    (None, "CreateMultipartUpload"),
    (None, "UploadPart"),
    (None, "CompleteMultipartUpload"),
]


@pytest.mark.parametrize(("data", "operation"), ASKED, ids=[operation for _, operation in ASKED])
def test_what_answers_everything_with_a_page_is_no_store(r2, data, operation):
    data = data or r2.long
    r2.bucket.double.inject(Fault(times=None, status=200, alter=page))
    with pytest.raises(StoreDown, match=r"as S3 does|not what was sent"):
        r2.store.publish(content_of(data), staged(data))
    r2.bucket.double.calm()
    r2.bucket.double.inject(Fault(operation=operation, status=200, alter=page))
    with pytest.raises(StoreDown, match=r"as S3 does|not what was sent"):
        r2.restarted().publish(content_of(data), staged(data))
    assert r2.store.publish(content_of(data), staged(data))
    r2.assert_stored(content_of(data), data)


def test_a_page_is_no_list_and_no_object(r2):
    r2.bucket.double.inject(Fault(times=None, status=200, alter=page))
    for ask in (
        lambda: list(r2.store.keys()),
        lambda: r2.store.has(content_of(SHORT)),
        lambda: r2.store.open("audio/0"),
    ):
        with pytest.raises(StoreDown):
            ask()


def test_what_is_no_xml_is_no_answer(r2):
    def broken(reply):
        reply.body = [b"<html>"]
        return reply

    r2.bucket.double.inject(Fault(operation="CreateMultipartUpload", alter=broken))
    with pytest.raises(StoreDown):
        r2.store.publish(content_of(r2.long), staged(r2.long))


def test_a_bucket_that_is_missing_is_no_missing_object(rig):
    store = rig.restarted(buckets={"audio": "there-is-none"})
    for ask in (lambda: store.has(content_of(SHORT)), lambda: store.open("audio/0")):
        with pytest.raises(StoreDown, match="no such bucket"):
            ask()
    assert not rig.restarted().has(content_of(SHORT))
    assert rig.store.open("audio/0") is None


def test_a_peer_that_reads_nothing_for_a_while_has_the_time_that_it_is_given():
    """A first body has it as well: not only as long as connecting may take."""
    with R2(rules=Rules(write_pause=0.0), rate=1 << 40) as double:  # which keeps the buffers between us small
        rig = Rig(buckets.at_double(double), connect_timeout=0.5, single_put_limit=64 * MIB)
        data = os.urandom(24 * MIB)
        double.inject(Fault(operation="PutObject", pause=1.5))
        assert rig.store.publish(content_of(data), staged(data))
        rig.close()


# When it is to stop


def test_what_is_halted_is_gone_on_with(rig):
    rig.restarted(concurrency=1)
    content = content_of(rig.long)
    with pytest.raises(Suspended):
        rig.store.publish(content, staged(rig.long), halted=lambda: rig.journal.calls.count("land") == 2)
    assert sorted(rig.journal.find(content.key).parts) == [1, 2]
    assert rig.restarted().publish(content, staged(rig.long))
    assert rig.store.calls.count("UploadPart") == 2
    rig.assert_whole(content, rig.long)


def test_what_is_halted_behind_its_last_part_is_not_completed(rig):
    content = content_of(rig.long)
    with pytest.raises(Suspended):
        rig.store.publish(content, staged(rig.long), halted=lambda: rig.journal.calls.count("land") == 4)
    assert not rig.store.has(content)
    assert rig.restarted().publish(content, staged(rig.long))
    assert "UploadPart" not in rig.store.calls


def test_what_is_halted_from_the_start_begins_nothing(rig):
    for data in (SHORT, rig.long):
        with pytest.raises(Suspended):
            rig.store.publish(content_of(data), staged(data), halted=lambda: True)
    assert set(rig.store.calls) <= {"HeadObject"}
    assert rig.journal.calls == []


def test_what_is_halted_stops_in_the_middle_of_a_body(rig):
    rig.restarted(single_put_limit=16 * MIB)
    data = os.urandom(3 * MIB)
    asked = []

    def halted():
        asked.extend(rig.store.calls)  # none before it is being sent
        return len(asked) > 1

    with pytest.raises(Suspended):
        rig.store.publish(content_of(data), staged(data), halted=halted)
    assert rig.store.calls == ["PutObject"]
    assert not rig.restarted().has(content_of(data))


def test_a_part_that_hangs_does_not_hold_up_the_end(r2):
    gate, halted = threading.Event(), threading.Event()
    stuck = Fault(operation="UploadPart", part=2, gate=gate, strike=lambda _: halted.set())
    matched = r2.bucket.double.inject(stuck)
    content = content_of(r2.long)
    with pytest.raises(Suspended):
        r2.store.publish(content, staged(r2.long), halted=halted.is_set)
    assert 2 not in r2.journal.find(content.key).parts
    assert not matched[0].status
    gate.set()
    assert r2.restarted().publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)


@pytest.mark.parametrize("conditional", [True, False], ids=["with a condition", "without"])
@pytest.mark.parametrize(("data", "operation"), ASKED, ids=[operation for _, operation in ASKED])
def test_no_request_that_hangs_holds_up_the_end_and_nobody_writes_its_key_before_it_has_ended(
    r2, data, operation, conditional
):
    data = data or r2.long
    content, gate, halted = content_of(data), threading.Event(), threading.Event()
    r2.restarted(conditional=conditional, single_put_limit=len(SHORT))
    stuck = Fault(operation=operation, late=True, gate=gate, strike=lambda _: halted.set())
    r2.bucket.double.inject(stuck)
    began = time.monotonic()
    with pytest.raises(Suspended):
        r2.store.publish(content, staged(data), halted=halted.is_set)
    assert time.monotonic() - began < PATIENCE + 1.5
    before = len(r2.store.calls)
    soon = time.monotonic() + 0.3
    with pytest.raises(Suspended):
        r2.store.publish(content, staged(data), halted=lambda: time.monotonic() > soon)
    assert len(r2.store.calls) == before, "the key is held by what was given up"
    gate.set()
    assert r2.store.publish(content, staged(data))
    r2.assert_whole(content, data)


def test_where_no_thread_can_be_had_nothing_is_lost(r2, monkeypatch):
    r2.restarted(concurrency=2)
    content, begin = content_of(r2.long), threading.Thread.start

    def refuse(name):
        def start(thread):
            if thread.name.startswith(name):
                raise RuntimeError("can't start new thread")
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    for name in ("publish", "part-", "part-"):
        refuse(name)
        with pytest.raises(StoreDown, match="no thread"):
            r2.store.publish(content, staged(r2.long))
    monkeypatch.undo()
    assert r2.store.publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)


def test_whoever_waits_for_a_key_can_be_halted(rig):
    content = content_of(rig.long)
    held, go = threading.Event(), threading.Event()

    def hold(number):
        if number == 2:
            held.set()
            go.wait(10)

    rig.store.then = hold
    first = threading.Thread(target=rig.store.publish, args=(content, staged(rig.long)))
    first.start()
    held.wait(10)
    with pytest.raises(Suspended):
        rig.store.publish(content, staged(rig.long), halted=lambda: True)
    assert rig.store.sweep(2000) == 0, "it is at work"
    go.set()
    first.join()
    rig.assert_whole(content, rig.long)


# What it says


def test_a_source_that_is_too_short_is_told_as_lost_bytes_and_nothing_is_begun(rig):
    for data in (SHORT, rig.long):
        with pytest.raises(BytesLost):
            rig.store.publish(content_of(data), staged(data[:-1]))
        assert not rig.store.has(content_of(data))
    assert unfinished(rig.bucket) == []
    assert rig.journal.abandoned() == []


def test_a_source_that_gets_shorter_meanwhile_is_told_as_lost_bytes(rig):
    opened = []

    def shorter():
        opened.append(None)
        return io.BytesIO(rig.long if len(opened) == 1 else rig.long[:10])

    with pytest.raises(BytesLost):
        rig.store.publish(content_of(rig.long), Staged("upload", shorter))


def test_a_short_content_that_is_not_what_was_received_is_not_published(rig):
    with pytest.raises(SpoolDown):
        rig.store.publish(content_of(SHORT), staged(SHORT[::-1]))
    assert rig.store.calls == []


def test_a_source_that_cannot_be_read_is_the_spool(rig):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(SpoolDown, match="Input/output"):
        rig.store.publish(content_of(SHORT), Staged("upload", lambda: Broken(SHORT)))


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_it_wants_to_be_left_alone_is_carried(r2, status):
    r2.bucket.double.inject(Fault(status=status, retry_after="17", times=None))
    for data in (SHORT, r2.long):
        with pytest.raises(StoreDown) as caught:
            r2.store.publish(content_of(data), staged(data))
        assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [(600, 500, 600), (-600, 0, 0), (None, None, None)],
    ids=["later", "long ago", "nonsense"],
)
def test_it_may_be_said_as_a_date(r2, said, least, most):
    date = "soon" if said is None else formatdate(time.time() + said, usegmt=True)
    r2.bucket.double.inject(Fault(status=503, retry_after=date, times=None))
    with pytest.raises(StoreDown) as caught:
        r2.store.publish(content_of(SHORT), staged(SHORT))
    wait = caught.value.retry_after
    assert wait is least is None or least <= wait <= most


def test_what_went_wrong_is_told_with_the_bucket(r2):
    r2.bucket.double.inject(Fault(status=503))
    content = content_of(SHORT)
    with pytest.raises(StoreDown, match=f"^{content.key} in bucket first: PutObject: "):
        r2.store.publish(content, staged(SHORT))


def test_without_such_a_word_there_is_none(r2):
    r2.bucket.double.inject(Fault(status=503, times=None))
    with pytest.raises(StoreDown) as caught:
        r2.store.publish(content_of(SHORT), staged(SHORT))
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"buckets": {"audio": "there-is-none"}}, "no such bucket"),
        ({"buckets": {"images": "there-is-none"}}, "no bucket for audio/"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_an_operator_is_told_what_to_mend(rig, other, words):
    store = rig.restarted(**other)
    with pytest.raises(StoreDown, match=words):
        store.publish(content_of(SHORT), staged(SHORT))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"access_key": "unknown"}, "check the credentials"),
        ({"secret_key": "wrong"}, "check the credentials"),
        ({"ca": None}, "certificate"),
    ],
)
def test_an_operator_is_told_whose_keys_are_wrong(r2, other, words):
    store = r2.restarted(**other)
    with pytest.raises(StoreDown, match=words):
        store.publish(content_of(SHORT), staged(SHORT))
    with pytest.raises(StoreDown):
        store.has(content_of(SHORT))


def test_an_operator_is_told_of_a_wrong_clock(r2):
    r2.bucket.double.skew = 3600
    with pytest.raises(StoreDown, match="clock"):
        r2.store.publish(content_of(SHORT), staged(SHORT))


def test_without_credentials_it_says_so(monkeypatch, tmp_path, r2):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = r2.restarted(access_key=None, secret_key=None)
    with pytest.raises(StoreDown, match="no credentials"):
        store.publish(content_of(SHORT), staged(SHORT))


def test_options_do_not_show_their_keys():
    shown = repr(S3Options(buckets={"audio": "a"}, access_key="hidden", secret_key="hidden"))
    assert "hidden" not in shown


def test_a_server_that_does_not_know_the_condition_is_asked_first_from_then_on(r2):
    r2.bucket.double.inject(Fault(operation="PutObject", status=501, code="NotImplemented"))
    content = content_of(SHORT)
    with pytest.raises(StoreDown, match="If-None-Match"):
        r2.store.publish(content, staged(SHORT))
    assert r2.store.publish(content, staged(SHORT))
    assert r2.store.publish(content, staged(SHORT))
    assert r2.store.calls == ["PutObject", "HeadObject", "PutObject", "HeadObject"]
    with pytest.raises(Conflict):
        r2.store.publish(Content(content.key, content_of(b"other").sha256, 5), staged(b"other"))


def test_a_server_that_does_not_know_the_condition_of_the_last_request_is_asked_without(r2):
    r2.bucket.double.inject(Fault(operation="CompleteMultipartUpload", status=501, code="NotImplemented"))
    assert r2.store.publish(content_of(r2.long), staged(r2.long))
    r2.assert_whole(content_of(r2.long), r2.long)


def test_where_the_condition_is_known_to_count_for_nothing_it_is_never_sent(r2):
    r2.restarted(conditional=False)
    for data in (SHORT, r2.long):
        content = content_of(data)
        assert r2.store.publish(content, staged(data))
        with pytest.raises(Conflict):
            r2.store.publish(Content(content.key, content_of(b"other").sha256, 5), staged(b"other"))
        r2.assert_whole(content, data)
    assert not [seen for seen in r2.bucket.double.seen if "if-none-match" in seen.headers]


# How it is read


def test_an_object_is_read_from_anywhere(rig):
    content = content_of(rig.long)
    rig.store.publish(content, staged(rig.long))
    with rig.store.open(content.key) as file:
        assert file.seek(-5, os.SEEK_END) == len(rig.long) - 5
        assert file.read(10) == rig.long[-5:]
        assert file.read(10) == b""
        assert file.seek(100) == 100
        assert file.read(7) == rig.long[100:107]
        assert file.seek(3, os.SEEK_CUR) == file.tell() == 110
        assert file.read(3) == rig.long[110:113]
        assert len(file.read(10 * MIB)) <= READ
        file.seek(len(rig.long) + 5)
        assert file.read(1) == b""
        with pytest.raises(ValueError, match="nothing at"):
            file.seek(-1)
    assert file.closed


def test_reading_on_is_one_request(rig):
    content = content_of(rig.long)
    rig.store.publish(content, staged(rig.long))
    before = len(rig.store.calls)
    with rig.store.open(content.key) as file:
        data = b"".join(iter(lambda: file.read(10_000), b""))
    assert data == rig.long
    assert rig.store.calls[before:] == ["HeadObject", "GetObject"]


def test_what_breaks_off_is_asked_for_again(r2):
    content = content_of(r2.long)
    r2.store.publish(content, staged(r2.long))
    r2.bucket.double.inject(Fault(operation="GetObject", cut=Cut.HALF))
    with r2.store.open(content.key) as file:
        assert file.read() == r2.long
    r2.bucket.double.inject(Fault(operation="GetObject", cut=Cut.HEAD, times=None))
    with r2.store.open(content.key) as file, pytest.raises(StoreDown):
        file.read()


def test_what_is_changed_while_it_is_read_is_an_error(rig):
    content = content_of(SHORT)
    rig.store.publish(content, staged(SHORT))
    with rig.store.open(content.key) as file:
        rig.put(content, SHORT[::-1])
        with pytest.raises(StoreDown):
            file.read()


def test_more_keys_than_one_list_holds_are_all_there(moto):
    rig = Rig(moto())
    names = {f"files/{number:016x}" for number in range(1005)}
    for name in names:
        rig.client.put_object(Bucket=rig.bucket.name, Key=name, Body=b"")
    assert set(rig.store.keys()) == names
    rig.close()


def test_readers_are_sent_to_a_public_bucket_or_with_a_signature_or_not_at_all(rig):
    content = content_of(SHORT)
    rig.store.publish(content, staged(SHORT))
    assert rig.store.address(content.key) is None
    public = rig.restarted(public_urls={"audio": "https://cdn.example/here/"}, prefix="a b/")
    assert public.address(content.key) == f"https://cdn.example/here/a%20b/{content.key}"
    assert public.address("files/0") is None
    signed = rig.restarted(presign_seconds=60).address(content.key)
    assert "X-Amz-Expires=60" in signed
    assert rig.store.calls == []
    if not rig.bucket.ca:
        with urllib.request.urlopen(signed, timeout=10) as answer:
            assert answer.read() == SHORT


# What is shipped ahead


def test_what_was_shipped_is_not_sent_again_and_costs_no_request_more(rig):
    content, part = content_of(rig.long), rig.bucket.part
    for upto in (part, part + 1, 2 * part - 1, 3 * part):
        rig.store.ship(content, staged(rig.long[:upto]), upto)
        assert rig.store.calls.count("UploadPart") == upto // part
        assert not rig.store.has(content)
    rig.store.calls.clear()
    assert rig.store.publish(content, staged(rig.long))
    assert sorted(rig.store.calls) == ["CompleteMultipartUpload", "HeadObject", "UploadPart"]
    rig.assert_whole(content, rig.long)


def test_the_stride_is_a_part_of_what_goes_in_parts(rig):
    part = rig.bucket.part
    assert [rig.store.stride(length) for length in (0, part, part + 1, 3 * part)] == [None, None, part, part]
    assert rig.store.stride(2 * MOST * part) > part


def test_what_a_liar_has_shipped_is_in_nobodys_object(rig):
    content, part = content_of(rig.long), rig.bucket.part
    rig.store.ship(content, staged(bytes(len(rig.long)), "liar"), 2 * part)
    rig.store.ship(content, staged(rig.long, "honest"), 2 * part)
    assert rig.store.calls.count("UploadPart") == 2, "the transfer is the liar's as long as nobody publishes"
    assert rig.store.publish(content, staged(rig.long, "honest"))
    assert rig.store.calls.count("UploadPart") == 2 + 4
    rig.assert_whole(content, rig.long)


def test_parts_of_the_same_upload_that_were_to_be_something_else_are_not_used(rig):
    content, part = content_of(rig.long), rig.bucket.part
    claimed = Content(content.key, content.sha256[:16] + "0" * 48, content.length)
    rig.store.ship(claimed, staged(bytes(len(rig.long))), 2 * part)
    assert rig.store.publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)


@pytest.mark.parametrize("fault", ["lose", "deafen"])
@pytest.mark.parametrize("number", range(1, 5))
def test_after_a_failure_of_any_request_of_a_shipment_another_process_goes_on(rig, fault, number):
    content, part = content_of(rig.long), rig.bucket.part
    setattr(rig.store, fault, number)
    with pytest.raises(StoreDown):
        rig.store.ship(content, staged(rig.long), 3 * part)
    begun = rig.journal.find(content.key)
    rig.restarted().ship(content, staged(rig.long), 3 * part)
    assert rig.store.calls.count("UploadPart") == 3 - len(begun.parts)
    assert rig.store.publish(content, staged(rig.long))
    assert rig.store.calls.count("UploadPart") == 4 - len(begun.parts)
    rig.assert_whole(content, rig.long)


def test_a_shipment_that_vanished_is_begun_again(r2):
    content, part = content_of(r2.long), r2.bucket.part
    r2.store.ship(content, staged(r2.long), part)
    begun = r2.journal.find(content.key)
    r2.client.abort_multipart_upload(Bucket=r2.bucket.name, Key=content.key, UploadId=begun.id)
    with pytest.raises(StoreDown, match="vanished"):
        r2.store.ship(content, staged(r2.long), 2 * part)
    r2.store.ship(content, staged(r2.long), 2 * part)
    assert r2.store.publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)


def test_bytes_that_are_not_there_are_not_shipped(rig):
    with pytest.raises(BytesLost):
        rig.store.ship(content_of(rig.long), staged(b"too few"), rig.bucket.part)
    assert rig.store.calls == []


def test_a_shipment_that_is_told_that_it_is_enough_lands_what_is_under_way(rig):
    content, part = content_of(rig.long), rig.bucket.part
    rig.restarted(concurrency=1)
    with pytest.raises(Suspended):
        rig.store.ship(content, staged(rig.long), 3 * part, enough=lambda: "UploadPart" in rig.store.calls)
    assert list(rig.journal.find(content.key).parts) == [1]
    with pytest.raises(Suspended):
        rig.store.ship(content, staged(rig.long), 3 * part, enough=lambda: True)
    assert rig.store.calls.count("UploadPart") == 1


def test_a_shipment_that_is_halted_breaks_off_what_is_under_way(rig):
    content, part = content_of(rig.long), rig.bucket.part
    with pytest.raises(Suspended):
        rig.store.ship(content, staged(rig.long), 3 * part, halted=lambda: "UploadPart" in rig.store.calls)
    assert rig.restarted().publish(content, staged(rig.long))
    rig.assert_whole(content, rig.long)


def test_what_is_whole_goes_before_what_is_shipped(rig):
    """Under the same key it waits for the part that is under way, and for nothing more."""
    content, part = content_of(rig.long), rig.bucket.part
    rig.restarted(concurrency=1)
    waits, results = threading.Event(), []
    hold = rig.store._keys.hold
    rig.store._keys.hold = lambda *key: (waits.set(), hold(*key))[1]
    publishing = threading.Thread(target=lambda: results.append(rig.store.publish(content, staged(rig.long))))

    def then(_) -> None:
        if rig.store.calls.count("UploadPart") == 1 and not publishing.ident:
            waits.clear()
            publishing.start()
            waits.wait(10)

    rig.store.then = then
    with pytest.raises(Suspended, match="asked"):
        rig.store.ship(content, staged(rig.long), 3 * part)
    publishing.join(30)
    assert results == [True]
    assert rig.store.calls.count("UploadPart") == 4
    rig.assert_whole(content, rig.long)


# What is swept


def test_only_old_transfers_of_the_journal_are_aborted(rig):
    rig.store.lose = 7
    old, young = content_of(rig.long), content_of(rig.long[1:])
    with pytest.raises(StoreDown):
        rig.store.publish(old, staged(rig.long))
    rig.now = 2000.0
    rig.restarted().lose = 6
    with pytest.raises(StoreDown):
        rig.store.publish(young, staged(rig.long[1:]))
    rig.client.create_multipart_upload(Bucket=rig.bucket.name, Key="somebody/elses")
    assert rig.restarted().sweep(1500) == 1
    assert sorted(unfinished(rig.bucket)) == sorted([young.key, "somebody/elses"])
    assert [transfer.key for transfer in rig.journal.abandoned()] == [young.key]
    assert rig.store.publish(old, staged(rig.long))
    assert rig.stored(old) == rig.long


def test_a_transfer_that_cannot_be_aborted_does_not_keep_the_others(r2, caplog):
    keys = ["audio/a.wav", "audio/b.wav", "audio/c.wav"]
    for key in keys:
        r2.journal.intend(key, "0" * 64, "upload", r2.bucket.part)
        begun = r2.client.create_multipart_upload(Bucket=r2.bucket.name, Key=key)
        r2.journal.begin(key, begun["UploadId"])
    r2.journal.intend("elsewhere/0", "0" * 64, "upload", r2.bucket.part)
    refused = Fault(operation="AbortMultipartUpload", key=keys[0], status=403, code="AccessDenied", times=None)
    r2.bucket.double.inject(refused)
    assert r2.store.sweep(9e9) == 2
    assert unfinished(r2.bucket) == keys[:1]
    r2.journal.intend(keys[1], "0" * 64, "upload", r2.bucket.part)
    for told in (keys[0], "elsewhere/0"):
        assert told in caplog.text
    r2.bucket.double.calm()
    assert r2.store.sweep(9e9) == 2
    r2.journal.intend(keys[2], "0" * 64, "upload", r2.bucket.part)
    r2.bucket.double.inject(Fault(cut=Cut.HEAD, times=None))
    with pytest.raises(StoreDown):  # none that would wait for every one of them
        r2.store.sweep(9e9)


def test_a_transfer_that_an_upload_can_go_on_with_is_not_aborted_however_old(rig):
    content = content_of(rig.long)
    rig.store.lose = 7
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    rig.needed.add("upload")
    assert rig.restarted().sweep(9e9) == 0
    assert rig.store.publish(content, staged(rig.long))
    assert "UploadPart" not in rig.store.calls
    rig.needed.clear()
    rig.assert_whole(content, rig.long)


def test_a_transfer_that_was_begun_anew_while_it_was_swept_is_left_alone(rig):
    content = content_of(rig.long)
    rig.store.lose = 7
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long))
    listed = rig.journal.abandoned()
    rig.now = 2000.0
    rig.restarted().lose = 6
    with pytest.raises(StoreDown):
        rig.store.publish(content, staged(rig.long, "another"))
    rig.journal.abandoned = lambda: listed
    assert rig.store.sweep(9e9) == 0
    assert rig.restarted().publish(content, staged(rig.long, "another"))
    assert rig.store.calls.count("UploadPart") == 1
    del rig.journal.abandoned
    rig.assert_whole(content, rig.long)


def test_a_transfer_that_another_process_has_given_up_is_tried_again(r2):
    content = content_of(r2.long)
    sweeper = Watched(options(r2.bucket), r2.journal)
    r2.stores.append(sweeper)
    r2.store.then = lambda number: sweeper.sweep(2000) if number == 7 else None
    assert r2.store.publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)


def test_a_part_of_a_transfer_that_was_given_up_meanwhile_counts_for_nothing(r2):
    sweeper = Watched(options(r2.bucket), r2.journal)
    r2.stores.append(sweeper)
    content, land = content_of(r2.long), r2.journal.land
    r2.journal.land = lambda *part: (sweeper.sweep(2000), land(*part))
    with pytest.raises(StoreDown, match="given this transfer up"):
        r2.store.publish(content, staged(r2.long))
    r2.journal.land = land
    assert r2.restarted().publish(content, staged(r2.long))
    r2.assert_whole(content, r2.long)


# What it costs

MEASURE = """
import os, sys
from rig.journal import RecordingJournal
from tusplyr.core.model import Content
from tusplyr.ports import Staged
from tusplyr.stores.s3 import S3Store
from tusplyr.stores.s3_options import S3Options
import msgspec

def high():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

options = msgspec.json.decode(sys.argv[1], type=S3Options)
path, sha256, length = sys.argv[2], sys.argv[3], int(sys.argv[4])
store = S3Store(options, RecordingJournal())
store.has(Content("audio/0", sha256, length))
source = Staged("upload", lambda: open(path, "rb", buffering=0), path)
before = high()
store.publish(Content("audio/" + sha256[:16], sha256, length), source)
print(high() - before)
"""


def test_memory_does_not_grow_with_the_content(tmp_path):
    length = 200 * MIB
    block = os.urandom(MIB)
    digest = hashlib.sha256()
    with (tmp_path / "long").open("wb") as file:
        for _ in range(length // MIB):
            file.write(block)
            digest.update(block)
    with buckets.r2() as bucket:
        told = msgspec.json.encode(options(bucket, part_size=16 * MIB)).decode()
        command = [sys.executable, "-c", MEASURE, told]
        run = subprocess.run(
            [*command, str(tmp_path / "long"), digest.hexdigest(), str(length)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env=os.environ | {"PYTHONPATH": "tests"},
        )
    assert int(run.stdout) < 16 * MIB, "four parts of 16 MiB are under way, and none is in memory"


def together(calls):
    """Run calls in threads at once; return what they returned, in order."""
    results = [None] * len(calls)

    def one(number):
        results[number] = calls[number]()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
