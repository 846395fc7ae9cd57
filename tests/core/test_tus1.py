"""tus 1.0: heads to commands or refusals, outcomes and errors to replies. Ids are those of the protocol reference."""

import base64
import hashlib

import pytest
from msgspec.structs import replace

from tusplyr.core.checksum import Checksum
from tusplyr.core.commands import Append, Appended, Concatenate, Create, Created, Found, Head, Terminated
from tusplyr.core.decide import Limits
from tusplyr.core.errors import (
    BadHeader,
    Busy,
    BytesLost,
    ChecksumMismatch,
    Conflict,
    DigestMismatch,
    Forbidden,
    Gone,
    Interrupted,
    LedgerDown,
    LengthFixed,
    MethodNotAllowed,
    NoSpace,
    NotFound,
    NotReady,
    OffsetMismatch,
    ShuttingDown,
    Silent,
    SpoolDown,
    StoreDown,
    Superseded,
    TooLarge,
    Unauthorized,
    WrongType,
    WrongVersion,
)
from tusplyr.core.media import OTHER, media_of
from tusplyr.core.model import MAX_INTEGER, Kind, Status, Upload
from tusplyr.dialects import tus1

ADDRESS = "http://example.org/files/0"
BODY = {"content-type": tus1.BODY_TYPE}
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
UPLOAD = Upload(id="0" * 32, length=100, offset=70, media=OTHER, created_at=0.0, updated_at=0.0)
STORED = replace(UPLOAD, offset=100, status=Status.STORED, sha256=SHA256)
FINAL = replace(UPLOAD, kind=Kind.FINAL, partials=("a", "b"), concat=b"final;/a /b")
LIMITS = Limits(1000)
CHECKSUM = Checksum("sha1", hashlib.sha1(b"hello").digest())
SHA1 = f"sha1 {base64.b64encode(CHECKSUM.digest).decode()}"
CONTENT = (
    ("Repr-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    ("Tusplyr-File-Id", SHA256[:16]),
)


def locate(address: str) -> str | None:
    path = address.removeprefix("http://example.org")
    return path[1:] if path.startswith("/") else None


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def head(method: str, headers: dict[str, str | tuple[str, ...]]) -> Head:
    return Head(method, {name: (value,) if isinstance(value, str) else value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("method", "version"),
    [(method, "1.0.0") for method in ("POST", "PATCH", "DELETE", "HEAD", "GET")] + [("HEAD", None), ("GET", None)],
)
def test_our_version_and_tolerated_silence_pass(method, version):  # C-08, D-01
    tus1.check_version(head(method, {"tus-resumable": version} if version else {}))


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "GET"])
@pytest.mark.parametrize("version", ["0.2.2", "1.0.1", "1", "", "1.0.0, 0.2.2", "v1.0.0"])
def test_another_version_is_412_with_ours(method, version):  # C-06, D-02
    with pytest.raises(WrongVersion) as raised:
        tus1.check_version(head(method, {"tus-resumable": version}))
    reply = tus1.refuse(raised.value, method, LIMITS)
    assert reply.status == 412
    assert ("Tus-Version", "1.0.0") in reply.headers


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_no_version_is_412_where_one_is_needed(method):  # C-08
    with pytest.raises(WrongVersion):
        tus1.check_version(head(method, {}))


def test_two_different_versions_are_400():  # D-47
    with pytest.raises(BadHeader):
        tus1.check_version(head("POST", {"tus-resumable": ("1.0.0", "0.2.2")}))


@pytest.mark.parametrize(("headers", "speaks"), [({}, False), ({"tus-resumable": "9"}, True)])
def test_a_client_of_tus_says_so(headers, speaks):
    assert tus1.speaks(head("HEAD", headers)) is speaks


@pytest.mark.parametrize(
    ("headers", "command"),
    [
        pytest.param({"upload-length": "100"}, Create(length=100), id="CR-02"),
        pytest.param({"upload-length": "0"}, Create(length=0), id="CR-07"),
        pytest.param({"upload-defer-length": "1"}, Create(length=None), id="DL-02"),
        pytest.param(
            {"upload-concat": "partial", "upload-length": "5"}, Create(length=5, concat=b"partial"), id="CC-02"
        ),
        pytest.param(
            {"upload-concat": "final;/b http://example.org/a  /b"},
            Concatenate(partials=("b", "a", "b"), concat=b"final;/b http://example.org/a  /b"),
            id="CC-04 CC-13 CC-20",
        ),
        pytest.param(
            {
                "upload-concat": "final;/a",
                "upload-length": "7",
                "upload-metadata": "filename YS53YXY=",
                "repr-digest": CONTENT[0][1],
                "content-length": "0",
                **BODY,
            },
            Concatenate(
                partials=("a",),
                length=7,
                concat=b"final;/a",
                metadata=b"filename YS53YXY=",
                media=media_of("a.wav"),
                declared=SHA256,
            ),
            id="CC-07 CC-11",
        ),
        pytest.param({"upload-length": "1000"}, Create(length=1000), id="CR-08 equal"),
        pytest.param(
            {"upload-length": "5", "upload-metadata": "filename YS53YXY="},
            Create(length=5, metadata=b"filename YS53YXY=", media=media_of("a.wav")),
            id="MD-01",
        ),
        pytest.param(
            {"upload-length": "5", "upload-metadata": "name YS5tcDM="},
            Create(length=5, metadata=b"name YS5tcDM=", media=media_of("a.mp3")),
            id="name where there is no filename",
        ),
        pytest.param({"upload-length": "5", "upload-metadata": ""}, Create(length=5), id="MD-10"),
        pytest.param(
            {"upload-length": "5", "upload-metadata": ("a YQ==", "b ,c")},
            Create(length=5, metadata=b"a YQ==,b ,c"),
            id="MD-12",
        ),
        pytest.param(
            {"upload-length": "5", "upload-metadata": "filename /wA="},
            Create(length=5, metadata=b"filename /wA="),
            id="MD-11",
        ),
        pytest.param(
            {"upload-length": "5", "content-length": "5", **BODY},
            Create(length=5, append=True, body_length=5),
            id="CW-02",
        ),
        pytest.param(
            {"upload-length": "5", "transfer-encoding": "chunked", **BODY},
            Create(length=5, append=True, body_length=None),
            id="CW-02 chunked",
        ),
        pytest.param({"upload-length": "5", "content-length": "0", **BODY}, Create(length=5, append=True), id="CW-08"),
        pytest.param(
            {"upload-length": "5", "content-length": "5", "upload-checksum": SHA1, **BODY},
            Create(length=5, append=True, body_length=5, checksum=CHECKSUM),
            id="CK-13",
        ),
        pytest.param(
            {"upload-length": "5", "repr-digest": CONTENT[0][1]}, Create(length=5, declared=SHA256), id="declared"
        ),
        pytest.param(
            {"upload-length": "5", "upload-metadata": f"sha256 {encoded(SHA256.upper())}"},
            Create(length=5, declared=SHA256, metadata=f"sha256 {encoded(SHA256.upper())}".encode()),
            id="declared in metadata",
        ),
        pytest.param(
            {"upload-length": "5", "content-length": "5", "content-type": "application/false"},
            Create(length=5, body_length=5),
            id="CW-09",
        ),
    ],
)
def test_a_post_makes_a_creation(headers, command):
    assert tus1.read_create(head("POST", headers), LIMITS, locate) == command


@pytest.mark.parametrize(
    ("headers", "error", "status"),
    [
        pytest.param({"upload-length": "-1"}, BadHeader, 400, id="C-03 negative"),
        pytest.param({"upload-length": "abc"}, BadHeader, 400, id="C-03 letters"),
        pytest.param({"upload-length": ""}, BadHeader, 400, id="C-03 empty"),
        pytest.param({"upload-length": "1_0"}, BadHeader, 400, id="D-48"),
        pytest.param({"upload-length": ("5", "6")}, BadHeader, 400, id="D-47"),
        pytest.param({}, BadHeader, 400, id="CR-05"),
        pytest.param({"upload-length": "5", "upload-defer-length": "1"}, BadHeader, 400, id="CR-06"),
        pytest.param({"upload-length": "1001"}, TooLarge, 413, id="CR-08"),
        pytest.param({"upload-length": "9" * 20}, TooLarge, 413, id="CR-09"),
        pytest.param({"upload-length": "5", "upload-metadata": "filename ***"}, BadHeader, 400, id="MD-04"),
        pytest.param({"upload-length": "5", "upload-metadata": ("a YQ==", "a YQ==")}, BadHeader, 400, id="MD-05"),
        pytest.param({"upload-length": "5", "upload-checksum": "sha1 x", **BODY}, BadHeader, 400, id="CK-09"),
        pytest.param({"upload-length": "5", "upload-checksum": SHA1}, BadHeader, 400, id="CK-13 without a body"),
        pytest.param({"upload-length": "5", "repr-digest": "sha-256=:AAAA:"}, BadHeader, 400, id="declared, malformed"),
        pytest.param(
            {"upload-length": "5", "upload-metadata": "sha256 YWJj"},
            BadHeader,
            400,
            id="declared in metadata, malformed",
        ),
        pytest.param(
            {"upload-length": "5", "repr-digest": CONTENT[0][1], "upload-metadata": f"sha256 {encoded('0' * 64)}"},
            BadHeader,
            400,
            id="declared twice, differently",
        ),
        *(
            pytest.param({"upload-concat": text, "upload-length": "5"}, BadHeader, 400, id=f"CC-21 {text!r}")
            for text in ("final;", "final", "Partial", "foo", "final; ", "partial;", "finally;/a", "")
        ),
        pytest.param({"upload-concat": "final;/a /b", "upload-defer-length": "1"}, BadHeader, 400, id="CC-28"),
        pytest.param({"upload-concat": "final;/a", "upload-length": "x"}, BadHeader, 400, id="C-03 final"),
        pytest.param({"upload-concat": "final;/a http://else.where/b"}, NotFound, 404, id="CC-22 not ours"),
        pytest.param({"upload-concat": "final;/a", "content-length": "5", **BODY}, Forbidden, 403, id="CC-26 D-38"),
        pytest.param(
            {"upload-concat": "final;/a", "transfer-encoding": "chunked", **BODY}, Forbidden, 403, id="CC-26 chunked"
        ),
        pytest.param({"upload-concat": "final;/a", "upload-metadata": "a *"}, BadHeader, 400, id="MD-04 final"),
        pytest.param({"upload-concat": "final;" + "/a " * 1001}, BadHeader, 400, id="more partial uploads than may be"),
        pytest.param(
            {"upload-concat": "partial", "upload-length": "5", "repr-digest": CONTENT[0][1]},
            BadHeader,
            400,
            id="a digest of a partial upload",
        ),
        *(
            pytest.param({"upload-defer-length": text}, BadHeader, 400, id=f"DL-02 {text!r}")
            for text in ("0", "2", "true", "", "01", "1, 1")
        ),
        pytest.param({"upload-length": "5", "content-length": "x", **BODY}, BadHeader, 400, id="length of the body"),
        pytest.param({"upload-length": "1001", "upload-metadata": "a *"}, TooLarge, 413, id="1.9 413 before metadata"),
    ],
)
def test_a_bad_post_is_refused(headers, error, status):
    with pytest.raises(error) as raised:
        tus1.read_create(head("POST", headers), LIMITS, locate)
    assert tus1.refuse(raised.value, "POST", LIMITS).status == status


@pytest.mark.parametrize(
    ("headers", "command"),
    [
        pytest.param(
            {"upload-offset": "70", "content-length": "30", **BODY}, Append(offset=70, body_length=30), id="C-30"
        ),
        pytest.param({"upload-offset": "70", **BODY}, Append(offset=70, body_length=0), id="C-41"),
        pytest.param(
            {"upload-offset": "70", "transfer-encoding": "chunked", **BODY},
            Append(offset=70, body_length=None),
            id="C-42",
        ),
        pytest.param(
            {"upload-offset": "0", "content-type": "Application/Offset+Octet-Stream; charset=x"},
            Append(offset=0, body_length=0),
            id="C-32",
        ),
        pytest.param(
            {"upload-offset": str(MAX_INTEGER), "upload-concat": "partial", **BODY},
            Append(offset=MAX_INTEGER, body_length=0),
            id="CC-27",
        ),
        pytest.param(
            {"upload-offset": "70", "content-length": "9" * 20, **BODY},
            Append(offset=70, body_length=MAX_INTEGER + 1),  # refused in its turn, after the offset
            id="C-43 63 bits",
        ),
        pytest.param(
            {"upload-offset": "70", "upload-length": "100", **BODY},
            Append(offset=70, body_length=0, length=100),
            id="DL-05",
        ),
    ],
)
def test_a_patch_makes_an_append(headers, command):
    assert tus1.read_append(head("PATCH", headers), LIMITS) == command


@pytest.mark.parametrize(
    ("headers", "error", "status"),
    [
        pytest.param({"upload-offset": "70"}, WrongType, 415, id="C-31 none"),
        pytest.param({"upload-offset": "70", "content-type": "application/json"}, WrongType, 415, id="C-31"),
        pytest.param({"content-type": "text/plain"}, WrongType, 415, id="1.9 415 before 400"),
        pytest.param(BODY, BadHeader, 400, id="C-45"),
        *(
            pytest.param({"upload-offset": text, **BODY}, BadHeader, 400, id=f"C-02 {text!r}")
            for text in ("-1", "abc", "1.5", "+3", "1_0", "", "9" * 20)
        ),
        pytest.param({"upload-offset": "70", "upload-checksum": "sha1 x", **BODY}, BadHeader, 400, id="CK-09"),
        pytest.param(
            {"upload-offset": "x", "upload-checksum": "x", **BODY}, BadHeader, 400, id="1.9 offset before checksum"
        ),
        pytest.param(
            {"upload-offset": "70", "upload-checksum": (SHA1, SHA1[:-2] + "1="), **BODY}, BadHeader, 400, id="D-47 D-48"
        ),
        pytest.param({"upload-offset": "70", "trailer": "Upload-Checksum", **BODY}, BadHeader, 400, id="CT-01"),
        pytest.param({"upload-offset": "70", "upload-length": "9" * 20, **BODY}, TooLarge, 413, id="DL-09 63 bits"),
        pytest.param({"upload-offset": "70", "upload-length": "x", **BODY}, BadHeader, 400, id="C-03"),
    ],
)
def test_a_bad_patch_is_refused(headers, error, status):
    with pytest.raises(error) as raised:
        tus1.read_append(head("PATCH", headers), LIMITS)
    assert tus1.refuse(raised.value, "PATCH", LIMITS).status == status


@pytest.mark.parametrize(
    ("outcome", "status", "headers"),
    [
        pytest.param(Created(UPLOAD), 201, (("Location", ADDRESS), ("Upload-Offset", "70")), id="CR-03 CR-04 CW-03"),
        pytest.param(Created(STORED), 201, (("Location", ADDRESS), ("Upload-Offset", "100"), *CONTENT), id="CW-07"),
        pytest.param(Appended(UPLOAD), 204, (("Upload-Offset", "70"),), id="C-34 C-35"),
        pytest.param(Appended(STORED), 204, (("Upload-Offset", "100"), *CONTENT), id="completing PATCH"),
        pytest.param(Found(UPLOAD), 200, (("Upload-Offset", "70"), ("Upload-Length", "100")), id="C-20 C-21 MD-09"),
        pytest.param(
            Found(replace(UPLOAD, metadata=b"a \xe9,b ")),
            200,
            (("Upload-Offset", "70"), ("Upload-Length", "100"), ("Upload-Metadata", "a \xe9,b ")),
            id="MD-08",
        ),
        pytest.param(
            Found(replace(UPLOAD, length=None)),
            200,
            (("Upload-Offset", "70"), ("Upload-Defer-Length", "1")),
            id="DL-03 DL-04",
        ),
        pytest.param(
            Found(replace(UPLOAD, kind=Kind.PARTIAL, concat=b"partial")),
            200,
            (("Upload-Offset", "70"), ("Upload-Length", "100"), ("Upload-Concat", "partial")),
            id="CC-17 CC-19",
        ),
        pytest.param(
            Found(replace(FINAL, status=Status.ASSEMBLING)),
            200,
            (("Upload-Length", "100"), ("Upload-Concat", "final;/a /b")),
            id="CC-15 CC-18 CC-19",
        ),
        pytest.param(Created(replace(FINAL, status=Status.ASSEMBLING)), 201, (("Location", ADDRESS),), id="CC-15 201"),
        pytest.param(
            Found(replace(FINAL, offset=100, status=Status.STORED, sha256=SHA256)),
            200,
            (("Upload-Offset", "100"), *CONTENT, ("Upload-Length", "100"), ("Upload-Concat", "final;/a /b")),
            id="CC-16 D-39",
        ),
        pytest.param(Found(STORED), 200, (("Upload-Offset", "100"), *CONTENT, ("Upload-Length", "100")), id="C-26"),
        pytest.param(Terminated(), 204, (), id="TM-02"),
    ],
)
def test_an_outcome_makes_a_reply(outcome, status, headers):
    reply = tus1.write(outcome, ADDRESS, LIMITS)
    assert (reply.status, reply.headers, reply.body, reply.close) == (status, headers, "", False)


@pytest.mark.parametrize(
    ("error", "status", "headers", "close"),
    [
        pytest.param(OffsetMismatch(70, 5), 409, (("Upload-Offset", "70"),), False, id="D-09"),
        pytest.param(WrongVersion("x"), 412, (("Tus-Version", "1.0.0"),), False, id="C-06"),
        pytest.param(TooLarge("x"), 413, (("Tus-Max-Size", "1000"),), False, id="CR-08"),
        pytest.param(WrongType("x"), 415, (), False, id="C-31"),
        pytest.param(LengthFixed("x"), 400, (), False, id="DL-06"),
        pytest.param(ChecksumMismatch(), 460, (), False, id="CK-08 D-31"),
        pytest.param(DigestMismatch(), 460, (), False, id="declared otherwise"),
        pytest.param(BadHeader("x"), 400, (), False, id="C-45"),
        pytest.param(NotFound(), 404, (), False, id="C-37"),
        pytest.param(Gone(), 410, (), False, id="EX-05"),
        pytest.param(MethodNotAllowed(("POST", "OPTIONS")), 405, (("Allow", "POST, OPTIONS"),), False, id="CR-12"),
        pytest.param(NotReady(), 409, (("Retry-After", "1"),), False, id="GET while received"),
        pytest.param(Busy(), 423, (("Retry-After", "1"),), False, id="D-15"),
        pytest.param(NoSpace(), 507, (("Retry-After", "60"),), False, id="507"),
        pytest.param(Interrupted(), 400, (), True, id="D-14"),
        pytest.param(Silent(), 503, (), True, id="D-16"),
        pytest.param(ShuttingDown(), 503, (), True, id="D-17"),
        pytest.param(Conflict("x"), 409, (), False, id="conflict"),
        pytest.param(Superseded(), 409, (), False, id="superseded"),
        pytest.param(Unauthorized(), 401, (("WWW-Authenticate", "Bearer"),), False, id="1.9 401"),
        pytest.param(LedgerDown("secret"), 503, (), False, id="ledger down"),
        pytest.param(SpoolDown("secret"), 503, (), False, id="spool down"),
        pytest.param(StoreDown("secret"), 503, (), False, id="store down"),
        pytest.param(BytesLost("secret"), 410, (), False, id="bytes lost"),
    ],
)
def test_an_error_makes_a_reply(error, status, headers, close):
    reply = tus1.refuse(error, "PATCH", LIMITS)
    assert (reply.status, reply.headers, reply.close) == (status, headers, close)
    assert reply.body
    assert "secret" not in reply.body
    on_head = tus1.refuse(error, "HEAD", LIMITS)
    assert on_head.body == ""
    if status >= 500:  # D-15: a 5xx on HEAD makes clients start again from byte 0
        assert (on_head.status, on_head.headers) == (423, (("Retry-After", "1"),))
    else:
        assert (on_head.status, on_head.headers) == (status, headers)


@pytest.mark.parametrize("error", [Silent(), ShuttingDown()])
def test_whoever_was_told_no_address_is_not_told_to_continue(error):
    assert "create the upload again" in tus1.refuse(error, "POST", LIMITS).body
    assert "create" not in tus1.refuse(error, "PATCH", LIMITS).body


def test_location_is_on_no_error_and_the_offset_on_409_alone():  # 1.10
    for error in (OffsetMismatch(70, 5), NotFound(), Gone(), TooLarge("x"), BadHeader("x"), Busy()):
        names = {name for name, _ in tus1.refuse(error, "PATCH", LIMITS).headers}
        assert "Location" not in names
        assert ("Upload-Offset" in names) is isinstance(error, OffsetMismatch)


@pytest.mark.parametrize(
    ("limits", "extra"), [(LIMITS, (("Tus-Max-Size", "1000"),)), (Limits(), ())], ids=["C-10", "C-10 unlimited"]
)
def test_discovery_says_what_is_built(limits, extra):  # C-04, C-09, C-50, CR-01, CW-01, TM-01
    reply = tus1.write_discovery(limits, trailers=False)
    offered = (
        ("Tus-Version", "1.0.0"),
        ("Tus-Extension", "creation,creation-with-upload,creation-defer-length,checksum,termination,concatenation"),
        ("Tus-Checksum-Algorithm", "sha256,sha1,sha512,md5"),
    )
    assert (reply.status, reply.headers) == (204, (*offered, *extra))


DAY = Limits(expire_after=86_400.0)
FRESH = replace(UPLOAD, updated_at=1_403_625_600.75)
EXPIRES = ("Upload-Expires", "Wed, 25 Jun 2014 16:00:00 GMT")


def test_addresses_are_looked_at_until_one_is_not_ours():
    asked = []

    def nowhere(address):
        asked.append(address)

    with pytest.raises(NotFound):
        tus1.read_create(head("POST", {"upload-concat": "final;" + "/a " * 1000}), LIMITS, nowhere)
    assert asked == ["/a"]


CHUNKED = {"upload-offset": "70", "transfer-encoding": "chunked", "trailer": "Upload-Checksum", **BODY}


def test_a_checksum_may_come_behind_the_body():  # CT-02
    trailers = []
    command = tus1.read_append(head("PATCH", CHUNKED), LIMITS, trailers)
    assert command.checksum is None
    trailers += [(b"authorization", b"Bearer x"), (b"upload-checksum", SHA1.encode())]  # CT-04
    assert command.expected() == CHECKSUM


@pytest.mark.parametrize(
    ("headers", "trailers"),
    [
        pytest.param(CHUNKED, [], id="missing"),
        pytest.param(CHUNKED, [(b"upload-checksum", b"sha1 x")], id="malformed"),
        pytest.param(CHUNKED, [(b"upload-checksum", SHA1.encode()), (b"upload-checksum", b"sha1 x")], id="twice"),
        pytest.param(
            CHUNKED | {"upload-checksum": SHA1},
            [(b"upload-checksum", f"sha1 {base64.b64encode(bytes(20)).decode()}".encode())],
            id="other than in the head",
        ),
    ],
)
def test_a_checksum_behind_the_body_that_is_wrong_is_refused(headers, trailers):  # CT-03
    command = tus1.read_append(head("PATCH", headers), LIMITS, trailers)
    with pytest.raises(BadHeader):
        command.expected()


def test_a_checksum_in_both_places_may_be_the_same():
    command = tus1.read_append(
        head("PATCH", CHUNKED | {"upload-checksum": SHA1}), LIMITS, [(b"upload-checksum", SHA1.encode())]
    )
    assert command.checksum == command.expected() == CHECKSUM


def test_a_trailer_needs_chunked_coding_and_a_server_that_delivers_it():  # CT-01
    with pytest.raises(BadHeader, match="cannot be read here"):
        tus1.read_append(head("PATCH", CHUNKED), LIMITS)
    plain = {name: value for name, value in CHUNKED.items() if name != "transfer-encoding"}
    with pytest.raises(BadHeader, match="chunked"):
        tus1.read_append(head("PATCH", plain | {"content-length": "5"}), LIMITS, [])


def test_checksums_are_offered_as_far_as_they_can_be_computed_and_read():  # CK-01, CK-02, CT-01
    some = Limits(algorithms=("sha1", "md5"))
    reply = tus1.write_discovery(some, trailers=True)
    assert dict(reply.headers)["Tus-Checksum-Algorithm"] == "sha1,md5"
    assert {"checksum", "checksum-trailer"} <= {*tus1.extensions(some, trailers=True)}
    assert "checksum-trailer" not in tus1.extensions(some, trailers=False)


def test_without_algorithms_a_checksum_is_refused_and_never_ignored():  # CK-14
    none = Limits(algorithms=())
    assert not {"checksum", "checksum-trailer"} & {*tus1.extensions(none, trailers=True)}
    assert "Tus-Checksum-Algorithm" not in dict(tus1.write_discovery(none, trailers=True).headers)
    for headers in ({"upload-offset": "70", "upload-checksum": SHA1, **BODY}, CHUNKED):
        with pytest.raises(BadHeader, match="does not offer"):
            tus1.read_append(head("PATCH", headers), none, [])


def test_what_may_expire_is_offered_only_where_it_does():  # EX-01
    assert "expiration" in tus1.extensions(DAY, trailers=False)
    assert "expiration" not in tus1.extensions(Limits(), trailers=False)


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Created(FRESH), id="EX-03"),
        pytest.param(Appended(FRESH), id="EX-02"),
        pytest.param(Found(FRESH), id="EX-11"),
    ],
)
def test_an_unfinished_upload_says_when_it_expires(outcome):  # EX-06: fixed English names, GMT
    assert EXPIRES in tus1.write(outcome, ADDRESS, DAY).headers


@pytest.mark.parametrize("outcome", [Created(STORED), Appended(STORED), Found(STORED)])
def test_a_whole_upload_does_not(outcome):  # EX-08
    assert "Upload-Expires" not in dict(tus1.write(outcome, ADDRESS, DAY).headers)


@pytest.mark.parametrize("error", [OffsetMismatch(70, 5), TooLarge("x"), WrongType("x"), BadHeader("x"), Busy()])
def test_a_refused_patch_says_it_too(error):  # EX-02: every PATCH response
    assert EXPIRES in tus1.refuse(error, "PATCH", DAY, FRESH).headers
    assert "Upload-Expires" not in dict(tus1.refuse(error, "PATCH", DAY).headers)


def test_every_reply_is_labelled_and_never_cached():  # C-05, C-23
    assert tus1.HEADERS == {"Tus-Resumable": "1.0.0", "Cache-Control": "no-store"}
