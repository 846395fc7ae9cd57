"""`tusplyr doctor`: what is not in order is named, each by itself; over a bucket that refuses what R2 refuses."""

import json
import os
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from rig import versity
from rig.need import need
from rig.r2 import R2, Cut, Fault
from rig.r2_faults import page
from rig.r2_state import Rules
from rig.s3_wire import Reply
from tusplyr import doctor
from tusplyr.cli import commands
from tusplyr.core.findings import Verdict
from tusplyr.doctor import examine
from tusplyr.ledger.migrate import migrate
from tusplyr.settings import Settings
from tusplyr.stores import s3_probe, s3_reach
from tusplyr.stores.s3_reach import NAME, reach


@pytest.fixture
def r2(monkeypatch):
    monkeypatch.setattr(s3_probe, "SAME_KEY", 0.0)
    with R2(rules=Rules(write_pause=0.0)) as double:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(double.ca))
        yield double


@pytest.fixture
def settings(r2, tmp_path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        store_kind="s3",
        s3_endpoint_url=r2.url,
        s3_bucket="first",
        s3_access_key_id=r2.access_key,
        s3_secret_access_key=r2.secret,
        s3_addressing="path",
    )


def found(settings, verdict=None):
    return [finding for finding in examine(settings) if verdict in {None, finding.verdict}]


def only(settings, verdict):
    (finding,) = found(settings, verdict)
    return finding


def test_all_is_well_before_the_first_start_and_nothing_is_left_behind(settings, tmp_path, r2):
    assert {finding.verdict for finding in found(settings)} == {Verdict.OK}
    assert r2.bucket().objects == {}
    assert r2.bucket().multiparts == {}
    assert list(tmp_path.iterdir()) == []
    keys = {seen.key for seen in r2.seen if seen.key}
    assert all(key.startswith(NAME) for key in keys)


def test_each_bucket_is_looked_at_once_and_under_the_prefix(settings, r2):
    two = replace(settings, s3_image_bucket="second", s3_prefix="tusplyr/")
    abouts = {finding.about for finding in found(two)}
    assert {"bucket first", "bucket second"} <= abouts
    assert {seen.bucket for seen in r2.requests("PutObject")} == {"first", "second"}
    assert all(seen.key.startswith(f"tusplyr/{NAME}") for seen in r2.seen if seen.key)


@pytest.mark.parametrize(
    ("wrong", "said", "advised"),
    [
        ({"s3_secret_access_key": "wrong"}, "the secret key is wrong", "S3_SECRET_ACCESS_KEY"),
        ({"s3_access_key_id": "wrong"}, "check the credentials", "S3_ACCESS_KEY_ID"),
        ({"s3_bucket": "nothing"}, "there is no such bucket", "S3_BUCKET"),
        ({"s3_region": "eu-west-1"}, "the region is wrong", "S3_REGION"),
        ({"s3_endpoint_url": "https://127.0.0.1:1"}, "it cannot be reached", "S3_ENDPOINT_URL"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_keeps_the_bucket_from_being_used_is_named(settings, r2, wrong, said, advised):
    finding = only(replace(settings, **wrong), Verdict.FAIL)
    assert said in finding.text
    assert advised in finding.change
    assert len(finding.text) < 400
    assert r2.bucket().objects == {}
    (problem,) = reach(doctor.s3_options(replace(settings, **wrong)))  # the same, in the log at the start
    assert said in problem


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"s3_image_bucket": "nothing"}, "S3_IMAGE_BUCKET"),
        ({"s3_file_bucket": "nothing"}, "S3_FILE_BUCKET"),
        ({"s3_image_bucket": "nothing", "s3_file_bucket": "nothing"}, "S3_IMAGE_BUCKET and S3_FILE_BUCKET"),
    ],
)
def test_a_bucket_that_is_not_there_is_told_by_its_own_setting(settings, wrong, setting):
    change = only(replace(settings, **wrong), Verdict.FAIL).change
    assert f"correct {setting};" in change


@pytest.mark.parametrize(
    ("refusal", "said", "advised"),
    [
        ((404, "NoSuchKey"), "", "the name of the bucket"),
        ((400, "400"), "perhaps the region is wrong", "S3_REGION"),
        ((503, "SlowDown"), "left alone", "nothing is wrong"),
        ((403, "AccessDenied"), "do not allow", "read, write and list"),
    ],
)
def test_what_a_list_is_refused_with_leads_to_what_mends_it(settings, r2, refusal, said, advised):
    status, code = refusal
    r2.inject(Fault(operation="ListObjectsV2", status=status, code=code, times=None))
    finding = only(settings, Verdict.FAIL)
    assert said in finding.text
    assert advised in finding.change


@pytest.mark.parametrize(
    ("bundle", "said", "advised"),
    [
        (None, "its certificate is not trusted", "AWS_CA_BUNDLE"),
        ("/nowhere.pem", "AWS_CA_BUNDLE) cannot be read", "AWS_CA_BUNDLE"),
        (__file__, "AWS_CA_BUNDLE) cannot be read", "AWS_CA_BUNDLE"),
    ],
    ids=["a certificate of one's own", "no file", "no certificate in it"],
)
def test_what_is_wrong_with_a_certificate_is_told(settings, monkeypatch, bundle, said, advised):
    monkeypatch.delenv("AWS_CA_BUNDLE")
    if bundle:
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    finding = only(settings, Verdict.FAIL)
    assert said in finding.text
    assert advised in finding.change


def saying(answer: bytes):
    """Answer everybody with these bytes, whatever they say, and hang up."""

    class Always(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1 << 16)
            self.request.sendall(answer)

    return serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Always))


@contextmanager
def serving(server):
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


GO = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
MOVED = b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://127.0.0.1/\r\n\r\n"
NGINX = b"HTTP/1.1 400 Bad Request\r\n\r\n"
NGINX += b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"


@pytest.mark.parametrize(
    ("answer", "scheme", "other"),
    [
        (b"", "http", "https"),
        (GO, "http", "https"),
        (NGINX, "http", "https"),
        (MOVED, "http", "https"),
        (GO, "https", "http"),
    ],
    ids=["hangs up", "go", "nginx", "redirects", "no TLS"],
)
def test_the_wrong_scheme_is_told(settings, answer, scheme, other):
    with saying(answer) as port:
        there = replace(settings, s3_endpoint_url=f"{scheme}://127.0.0.1:{port}")
        finding = only(there, Verdict.FAIL)
        assert len(reach(doctor.s3_options(there))) == 1
    assert finding.change.startswith(f"Try {other}:// in S3_ENDPOINT_URL")


def test_credentials_that_are_missing_are_told(settings, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    finding = only(replace(settings, s3_access_key_id=None, s3_secret_access_key=None), Verdict.FAIL)
    assert finding.text.startswith("there are no credentials")
    assert "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY" in finding.change


def test_a_profile_that_is_not_there_is_told(settings, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    finding = only(settings, Verdict.FAIL)
    assert "nobody" in finding.text
    assert "AWS_PROFILE" in finding.change


def test_what_cannot_be_reached_is_told_once(settings):
    finding = only(replace(settings, s3_endpoint_url="https://127.0.0.1:1"), Verdict.FAIL)
    assert finding.text.count("cannot be reached") == 1


def misplaced(reply):
    """Refuse as AWS does what is signed for another region, and name the right one."""
    text = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>no</Message><Region>auto</Region></Error>"
    return Reply(status=400, headers={"Content-Type": "application/xml"}, body=[text], length=len(text))


def test_a_region_that_the_client_corrects_by_itself_is_a_failure(settings, r2):
    wrong = replace(settings, s3_region="us-east-1")
    r2.inject(Fault(operation="ListObjectsV2", alter=misplaced))
    finding = only(wrong, Verdict.FAIL)
    assert "the region is wrong" in finding.text
    assert finding.change == "Set S3_REGION=auto."
    r2.calm()
    r2.inject(Fault(operation="ListObjectsV2", alter=misplaced))
    (problem,) = reach(doctor.s3_options(wrong))
    assert problem.startswith("bucket first: the region is wrong")


@pytest.mark.e2e
@pytest.mark.parametrize("region", ["eu-west-1", "auto"])
def test_a_real_server_of_another_region_is_told(settings, tmp_path, region):
    need(versity.BINARY.exists(), versity.MISSING)
    with versity.Versity(tmp_path) as gateway:
        where = {"s3_endpoint_url": gateway.url, "s3_bucket": gateway.fresh().name}
        keys = {"s3_access_key_id": gateway.access_key, "s3_secret_access_key": gateway.secret}
        there = replace(settings, downloads="redirect", **where, **keys)
        assert only(replace(there, s3_region=region), Verdict.FAIL).change == "Set S3_REGION=us-east-1."
        assert found(replace(there, s3_region="us-east-1"), Verdict.FAIL) == []


def test_a_server_that_says_nothing_is_not_waited_for_long(settings, r2, monkeypatch):
    monkeypatch.setattr(s3_reach, "PATIENCE", 0.3)
    r2.inject(Fault(hang=60.0, times=None))
    assert "timed out" in only(settings, Verdict.FAIL).text.lower().replace("timeout", "timed out")
    assert len(r2.requests()) == 1
    assert len(reach(doctor.s3_options(settings))) == 1


def test_the_clock_is_told_once(settings):
    two = replace(settings, s3_image_bucket="second")
    assert [finding.about for finding in found(two)].count("clock") == 1


def test_a_write_under_a_condition_that_is_cut_is_a_failure_and_no_traceback(settings, r2):
    r2.inject(Fault(operation="PutObject", nth=2, cut=Cut.MIDDLE))
    assert "under a condition" in only(settings, Verdict.FAIL).text


def test_an_address_that_readers_are_sent_to_is_read(settings, r2):
    r2.bucket().cors = CORS
    assert found(settings, Verdict.FAIL) == []
    assert not any("presigned" in finding.text for finding in found(settings))
    texts = [finding.text for finding in found(replace(settings, downloads="redirect"), Verdict.OK)]
    assert "a presigned address, as readers get it, can be read" in texts


def test_an_address_that_readers_cannot_read_is_a_failure(settings, r2):
    r2.bucket().cors = CORS
    r2.inject(Fault(operation="GetObject", nth=2, status=403, code="AccessDenied"))
    finding = only(replace(settings, downloads="redirect"), Verdict.FAIL)
    assert "presigned" in finding.text
    assert "403" in finding.text
    assert "Signature" not in finding.text
    assert r2.bucket().objects == {}


def cdn(r2, *, shows: bytes | None = None):
    """Show everybody what is in a bucket, or the same page for everything."""

    class Shows(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(r2.content(self.path[1:]) if shows is None else shows)

        def log_message(self, *_):
            pass

    return serving(ThreadingHTTPServer(("127.0.0.1", 0), Shows))


def test_a_public_address_is_read(settings, r2):
    with cdn(r2) as port:
        url = f"http://127.0.0.1:{port}"
        findings = found(replace(settings, s3_public_url=url, downloads="redirect"))
    texts = [finding.text for finding in findings]
    assert f"everybody can read what is in it at {url}" in texts
    assert not any("presigned" in text for text in texts)


def test_a_public_address_that_cannot_be_read_is_told(settings, r2):
    with cdn(r2, shows=b"please log in") as port:
        url = f"http://127.0.0.1:{port}"
        finding = only(replace(settings, s3_public_url=url), Verdict.WARN)
        assert "something else" in finding.text
        assert "S3_PUBLIC_URL" in finding.change
        finding = only(replace(settings, s3_image_public_url=url), Verdict.WARN)
        assert "S3_IMAGE_PUBLIC_URL" in finding.change
    finding = only(replace(settings, s3_public_url=r2.url + "/first"), Verdict.WARN)
    assert "401" in finding.text


def test_what_answers_everything_with_a_page_is_no_bucket(settings, r2):
    r2.inject(Fault(times=None, status=200, alter=page))
    finding = only(settings, Verdict.FAIL)
    assert "does not answer as S3 does" in finding.text
    assert "S3_ENDPOINT_URL" in finding.change
    (problem,) = reach(doctor.s3_options(settings))
    assert "does not answer as S3 does" in problem


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "CreateMultipartUpload", "UploadPart"])
def test_a_page_in_the_place_of_any_answer_is_a_failure_and_no_traceback(settings, r2, operation):
    r2.inject(Fault(operation=operation, times=None, status=200, alter=page))
    assert found(settings, Verdict.FAIL)
    assert r2.bucket().multiparts == {}


@pytest.mark.parametrize(
    ("operation", "said"),
    [("CreateMultipartUpload", "cannot be written to"), ("AbortMultipartUpload", "does not let unfinished transfers")],
)
def test_a_bucket_that_refuses_writes_is_told_at_the_start(settings, r2, operation, said):
    options = doctor.s3_options(settings)
    assert reach(options) == []
    assert r2.bucket().objects == r2.bucket().multiparts == {}
    r2.inject(Fault(operation=operation, status=403, code="AccessDenied", times=None))
    (problem,) = reach(options)
    assert problem.startswith(f"bucket first {said}")
    assert "the credentials do not allow this" in problem


@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "CompleteMultipartUpload"])
def test_what_was_written_and_the_answer_lost_is_removed(settings, r2, operation):
    r2.inject(Fault(operation=operation, cut=Cut.ANSWER, times=None))
    assert found(settings, Verdict.FAIL)
    assert r2.requests(operation)
    assert r2.bucket().objects == {}
    assert r2.bucket().multiparts == {}


def test_what_cannot_be_known_to_be_gone_is_named(settings, r2):
    r2.inject(Fault(operation="CreateMultipartUpload", cut=Cut.ANSWER, times=None))
    r2.inject(Fault(operation="ListMultipartUploads", status=403, code="AccessDenied", times=None))
    finding = only(settings, Verdict.WARN)
    assert r2.bucket().multiparts
    for upload in r2.bucket().multiparts.values():
        assert upload.key in finding.change


@pytest.mark.parametrize(
    ("status", "code", "advised"),
    [
        (429, "TooManyRequests", "nothing is wrong"),
        (503, "SlowDown", "nothing is wrong"),
        (500, "InternalError", "those who run it"),
    ],
)
def test_what_no_right_would_mend_asks_for_no_right(settings, r2, status, code, advised):
    r2.inject(Fault(operation="PutObject", status=status, code=code, times=None))
    finding = only(settings, Verdict.FAIL)
    assert advised in finding.change
    assert "right" not in finding.change


@pytest.mark.parametrize(("skew", "verdict"), [(120.0, Verdict.WARN), (-120.0, Verdict.WARN), (1200.0, Verdict.FAIL)])
def test_a_clock_that_is_wrong_is_told(settings, r2, skew, verdict):
    r2.skew = skew
    findings = [finding for finding in found(settings) if finding.about == "clock"]
    assert [finding.verdict for finding in findings] == [verdict]
    assert ("behind" if skew > 0 else "ahead") in findings[0].text
    assert "NTP" in findings[0].change


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        ("PutObject", "written to"),
        ("GetObject", "read"),
        ("CreateMultipartUpload", "in parts"),
        ("UploadPart", "parts"),
    ],
)
def test_a_right_that_is_missing_is_told(settings, r2, operation, what):
    r2.inject(Fault(operation=operation, status=403, code="AccessDenied", times=None))
    finding = only(settings, Verdict.FAIL)
    assert f"cannot be {what}" in finding.text or what in finding.text
    assert "read, write and list" in finding.change
    assert r2.bucket().objects == {}
    assert r2.bucket().multiparts == {}


def test_what_could_not_be_removed_is_named_and_is_no_failure(settings, r2):
    r2.inject(Fault(operation="DeleteObject", status=403, code="AccessDenied", times=None))
    finding = only(settings, Verdict.WARN)
    for key in r2.bucket().objects:
        assert key in finding.change


def test_a_server_that_does_not_know_conditions_is_told(settings, r2):
    r2.inject(Fault(operation="PutObject", nth=2, status=501, code="NotImplemented"))
    finding = only(settings, Verdict.WARN)
    assert "If-None-Match is not honoured" in finding.text


def test_a_server_that_does_not_look_at_checksums_is_told_and_nothing_is_left(settings, r2):
    r2.inject(Fault(operation="PutObject", nth=3, alter=lambda _: Reply()))
    assert "not held against their checksum" in only(settings, Verdict.WARN).text
    assert r2.bucket().objects == {}


CORS = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
EMPTY = "<LifecycleConfiguration></LifecycleConfiguration>"


def rule(inside: str, status: str = "Enabled") -> str:
    return f"<LifecycleConfiguration><Rule><Status>{status}</Status>{inside}</Rule></LifecycleConfiguration>"


def aborts(days: int, prefix: str = "") -> str:
    within = f"<DaysAfterInitiation>{days}</DaysAfterInitiation>"
    there = f"<Filter><Prefix>{prefix}</Prefix></Filter>"
    return rule(f"{there}<AbortIncompleteMultipartUpload>{within}</AbortIncompleteMultipartUpload>")


@pytest.mark.parametrize(
    "lifecycle",
    [None, EMPTY, rule(""), aborts(1), aborts(7, "logs/"), aborts(7, "audio/")],
    ids=["none", "no rules", "of another kind", "after a day", "elsewhere", "of a part"],
)
def test_what_becomes_of_unfinished_transfers_is_told(settings, r2, lifecycle):
    r2.bucket().lifecycle = lifecycle
    assert "unfinished" in only(settings, Verdict.WARN).text
    r2.bucket().lifecycle = aborts(7)
    assert found(settings, Verdict.WARN) == []


@pytest.mark.parametrize(
    ("inside", "deletes"),
    [
        ("<Expiration><Days>30</Days></Expiration>", True),
        ("<Filter><Prefix></Prefix></Filter><Expiration><Days>30</Days></Expiration>", True),
        ("<Filter><Prefix>audio/0</Prefix></Filter><Expiration><Days>30</Days></Expiration>", True),
        ("<Prefix>ima</Prefix><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>", True),
        ("<Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>30</Days></Expiration>", False),
        ("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>", False),
        ("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", False),
    ],
)
def test_a_rule_that_deletes_what_is_published_is_a_failure(settings, r2, inside, deletes):
    r2.bucket().lifecycle = rule(inside)
    assert ["deletes" in finding.text for finding in found(settings, Verdict.FAIL)] == [True] * deletes
    r2.bucket().lifecycle = rule(inside, "Disabled")
    assert found(settings, Verdict.FAIL) == []


def test_rules_that_may_not_be_seen_are_nothing_to_worry_about(settings, r2):
    r2.inject(Fault(operation="GetBucketLifecycleConfiguration", status=403, code="AccessDenied", times=None))
    assert {finding.verdict for finding in found(settings)} == {Verdict.OK}


def test_rules_that_a_server_does_not_have_are_no_matter_of_rights(settings, r2):
    for operation in ("GetBucketLifecycleConfiguration", "GetBucketCors"):
        r2.inject(Fault(operation=operation, status=501, code="NotImplemented", times=None))
    texts = [finding.text for finding in found(replace(settings, downloads="redirect"))]
    assert any("knows no lifecycle rules" in text for text in texts)
    assert any("knows no CORS rules" in text for text in texts)
    assert not any("credentials may not" in text for text in texts)


@pytest.mark.parametrize(
    ("cors", "well"),
    [
        (None, False),
        ("<CORSConfiguration></CORSConfiguration>", False),
        ("<CORSConfiguration><CORSRule><AllowedMethod>PUT</AllowedMethod></CORSRule></CORSConfiguration>", False),
        (CORS, True),
    ],
    ids=["none", "no rules", "not GET", "GET"],
)
def test_cors_of_the_bucket_counts_where_readers_are_sent_there(settings, r2, cors, well):
    r2.bucket().cors = cors
    assert found(settings, Verdict.WARN) == []  # here all reading goes through the server
    warnings = found(replace(settings, downloads="redirect"), Verdict.WARN)
    assert [("CORS" in finding.text) for finding in warnings] == ([] if well else [True])


def test_a_connection_that_is_cut_is_a_failure_and_no_traceback(settings, r2):
    r2.inject(Fault(operation="UploadPart", cut=Cut.MIDDLE, times=None))
    assert "in parts" in only(settings, Verdict.FAIL).text
    assert r2.bucket().multiparts == {}


@pytest.fixture
def plain(tmp_path) -> Settings:
    (tmp_path / "data").mkdir()
    return Settings(data_dir=tmp_path / "data")


def test_a_database_is_told_by_its_revision(plain):
    migrate(plain.database)
    assert {finding.verdict for finding in found(plain)} == {Verdict.OK}


def test_a_database_that_is_none_is_a_failure(plain):
    plain.database.write_bytes(b"not a database at all, but long enough to be taken for one" * 100)
    assert only(plain, Verdict.FAIL).about == "database"


def test_a_disk_without_room_is_a_failure(plain):
    finding = only(replace(plain, reserve=2**62), Verdict.FAIL)
    assert (finding.about, "RESERVE" in finding.change) == ("disk", True)


def test_a_store_on_another_volume_is_told(plain, other_volume):
    (plain.data_dir / "store").symlink_to(other_volume)
    assert "another volume" in only(plain, Verdict.WARN).text


def command(*arguments: str, **environ: str):
    return CliRunner().invoke(commands, ["doctor", *arguments], env=environ)


def test_the_command_prints_a_line_for_each_and_exits_with_0(plain):
    done = command("--data-dir", str(plain.data_dir))
    assert done.exit_code == 0, done.output
    assert [line[:6] for line in done.output.splitlines()] == ["ok    "] * 4


def test_the_command_exits_with_1_where_something_does_not_work_and_says_what_to_change(settings, r2):
    r2.down()
    environ = {
        "TUSPLYR_DATA_DIR": str(settings.data_dir),
        "TUSPLYR_STORE": "s3",
        "TUSPLYR_S3_BUCKET": "first",
        "TUSPLYR_S3_ENDPOINT_URL": r2.url,
        "TUSPLYR_S3_ACCESS_KEY_ID": r2.access_key,
        "TUSPLYR_S3_SECRET_ACCESS_KEY": r2.secret,
    }
    done = command(**environ)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].strip() == "Check S3_ENDPOINT_URL and the network."
    done = command("--json", **environ)
    assert done.exit_code == 1
    assert json.loads(done.output)[-1]["verdict"] == "fail"
    assert r2.secret not in done.output


def test_the_command_wants_the_settings_of_the_store_to_be_right(tmp_path):
    done = command("--data-dir", str(tmp_path), TUSPLYR_STORE="s3")
    assert done.exit_code == 2
    assert "S3_BUCKET" in done.output
