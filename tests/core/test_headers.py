"""The grammar of header values."""

import base64
import hashlib
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusplyr.core.checksum import ALGORITHMS, Checksum
from tusplyr.core.errors import BadHeader, TooLarge
from tusplyr.core.headers import (
    MAX_METADATA,
    content_disposition,
    media_type,
    members,
    parse_checksum,
    parse_headers,
    parse_integer,
    parse_metadata,
    parse_repr_digest,
    repr_digest,
    single,
)
from tusplyr.core.model import MAX_INTEGER


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("5", 5), ("007", 7), ("0" * 5000 + "7", 7), (str(MAX_INTEGER), MAX_INTEGER)],
)
def test_ascii_digits_are_an_integer(text, value):
    assert parse_integer("Upload-Offset", text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+5",
        "-5",
        "-0",
        "1_0",
        " 5",
        "5 ",
        "5\n",
        "\t5",
        "1 0",
        "5,5",
        "0x5",
        "1e3",
        "1.0",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "\N{FULLWIDTH DIGIT FIVE}",
        "²",
        "five",
        "\0",
    ],
)
def test_anything_else_is_no_integer(text):
    for beyond in (BadHeader, TooLarge):
        with pytest.raises(BadHeader, match=r"^Upload-Length must be"):
            parse_integer("Upload-Length", text, beyond)


@pytest.mark.parametrize("text", [str(MAX_INTEGER + 1), "99999999999999999999", "9" * 19, "9" * 10_000])
def test_more_than_63_bits_exceed_every_limit(text):  # CR-09
    for beyond in (BadHeader, TooLarge):
        with pytest.raises(beyond, match=r"^Upload-Length exceeds"):
            parse_integer("Upload-Length", text, beyond)


@given(st.integers(0, MAX_INTEGER))
def test_every_integer_of_63_bits_reads_back(value):
    assert parse_integer("Upload-Offset", str(value)) == value


@given(st.text(max_size=12))
def test_no_text_but_ascii_digits_ever_passes(text):
    try:
        value = parse_integer("Upload-Offset", text)
    except BadHeader:
        assert not (text.isascii() and text.isdigit())
    else:
        assert text.lstrip("0") == (str(value) if value else "")


def test_every_line_of_a_header_is_kept_in_order():
    raw = [(b"a", b"1"), (b"b", b"\xff"), (b"a", b"2")]
    assert parse_headers(raw) == {"a": ("1", "2"), "b": ("\xff",)}


def test_one_value_sent_twice_is_one_value():  # D-47
    assert single({"upload-offset": ("5", "5")}, "upload-offset") == "5"
    assert single({"upload-offset": (" 5\t",)}, "upload-offset") == "5"
    assert single({}, "upload-offset") is None


def test_two_different_values_are_refused_not_chosen_from():  # D-47
    with pytest.raises(BadHeader):
        single({"upload-offset": ("5", "6")}, "upload-offset")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_a_name_a_blank_and_base64(algorithm):  # CK-03, CK-05
    digest = hashlib.new(algorithm, b"hello").digest()
    assert parse_checksum(f"{algorithm} {encoded(digest)}", ALGORITHMS) == Checksum(algorithm, digest)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=", id="CK-04"),
        pytest.param("crc99 AAAA", id="CK-07"),
        *(
            pytest.param(text, id=f"CK-09 {text!r}")
            for text in (
                "",
                "sha1",
                "sha1 ",
                "sha1 !!!",
                "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00",
                "sha1  qvTGHdzF6KLavt4PO0gs2a6pQ00=",
                "sha1 AAAA",
                "sha256 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
                "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
            )
        ),
    ],
)
def test_anything_else_is_no_checksum(text):
    with pytest.raises(BadHeader, match=r"^Upload-Checksum "):
        parse_checksum(text, ALGORITHMS)


def test_an_algorithm_that_is_not_offered_is_refused():
    with pytest.raises(BadHeader, match="one of sha1, in"):
        parse_checksum("sha256 " + encoded(bytes(32)), ("sha1",))


def test_names_in_a_list_are_compared_without_case():
    assert members(("A, upload-Checksum", "b")) == {"a", "upload-checksum", "b"}


SHA256 = hashlib.sha256(b"hello")
DIGEST = f"sha-256=:{encoded(SHA256.digest())}:"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ((), None),
        (("",), None),
        (("sha-512=:AAAA:",), None),
        ((DIGEST,), SHA256.hexdigest()),
        ((f"sha-512=:AAAA:, {DIGEST};q=1",), SHA256.hexdigest()),
        ((DIGEST, DIGEST), SHA256.hexdigest()),
    ],
)
def test_a_digest_of_the_representation_is_found_among_others(lines, found):
    assert parse_repr_digest(lines) == found


@pytest.mark.parametrize(
    "text",
    [
        "sha-256",
        "sha-256=",
        "sha-256=:",
        "sha-256=AAAA",
        "sha-256=:AAAA:",
        "sha-256=:***:",
        f"{DIGEST}, sha-256=:AAAA:",
    ],
)
def test_a_digest_that_is_none_is_refused(text):
    with pytest.raises(BadHeader, match=r"^Repr-Digest "):
        parse_repr_digest((text,))


@pytest.mark.parametrize(
    ("lines", "pairs"),
    [
        pytest.param(("filename d29y,is_confidential",), {"filename": b"wor", "is_confidential": b""}, id="MD-01"),
        pytest.param(("a ,b",), {"a": b"", "b": b""}, id="MD-06"),
        pytest.param(("\xe9 YQ==",), {"\xe9": b"a"}, id="MD-03"),
        pytest.param(("a /wA=",), {"a": b"\xff\0"}, id="MD-11"),
        pytest.param(("",), {}, id="MD-10"),
        pytest.param((), {}, id="MD-09"),
        pytest.param((" a YQ== , ,\tb Yg==,",), {"a": b"a", "b": b"b"}, id="MD-12 blanks"),
        pytest.param(("a YQ==", "b Yg=="), {"a": b"a", "b": b"b"}, id="MD-12 lines"),
    ],
)
def test_metadata_is_read(lines, pairs):
    assert parse_metadata(lines) == pairs


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("filename ***", id="MD-04 alphabet"),
        pytest.param("filename YQ", id="MD-04 unpadded"),
        pytest.param("filename YQ===", id="MD-04 too much padding"),
        pytest.param("filename YQ=", id="MD-04 too little padding"),
        pytest.param("filename =", id="MD-04 padding alone"),
        pytest.param("filename -_8=", id="MD-04 URL-safe"),
        pytest.param("filename Y Q==", id="MD-04 blank inside"),
        pytest.param("filename  YQ==", id="MD-04 two blanks"),
        pytest.param("filename YQ==YQ==", id="MD-04 two values"),
        pytest.param("filename YR==", id="MD-04 stray bits"),
        pytest.param("filename \xe9\xe9\xe9\xe9", id="MD-04 not ASCII"),
        pytest.param("a YQ==,a Yg==", id="MD-05"),
        pytest.param("a YQ==,a YQ==", id="MD-05 equal"),
        pytest.param("a " + encoded(bytes(MAX_METADATA)), id="MD-13"),
        pytest.param("a" * (MAX_METADATA + 1), id="MD-13 key"),
        pytest.param(",".join(f"{n:04d}" for n in range(MAX_METADATA // 4 + 1)), id="MD-13 together"),
    ],
)
def test_metadata_outside_the_grammar_is_refused(line):
    with pytest.raises(BadHeader):
        parse_metadata((line,))


def test_metadata_of_exactly_the_limit_is_accepted():
    value = bytes(MAX_METADATA - 1)
    assert parse_metadata(("a " + encoded(value),)) == {"a": value}


keys = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters=",\xa0\x85"), min_size=1, max_size=8
)


@given(st.dictionaries(keys, st.binary(max_size=40), max_size=8), st.booleans())
def test_metadata_reads_back_as_one_line_or_many(pairs, many):
    members = tuple(f"{key} {encoded(value)}" for key, value in pairs.items())
    assert parse_metadata(members if many else (",".join(members),)) == pairs


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_hostile_metadata_is_read_or_refused_and_nothing_else(line):
    try:
        pairs = parse_metadata((line,))
    except BadHeader as error:
        told = str(error)
    else:
        told = ""
        assert all(key and not set(" ,") & set(key) for key in pairs)
    assert told.isprintable()


@pytest.mark.parametrize(
    ("value", "label"),
    [(None, ""), ("", ""), (" Application/Offset+Octet-Stream ; charset=x", "application/offset+octet-stream")],
)
def test_media_type_has_no_case_and_no_parameters(value, label):  # C-32
    assert media_type(value) == label


def test_repr_digest_is_base64_between_colons():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert repr_digest(empty) == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


@pytest.mark.parametrize(
    ("name", "plain", "full"),
    [
        ("take one.wav", "take one.wav", "take one.wav"),
        ('a".exe', "a_.exe", 'a".exe'),
        ("a\r\nSet-Cookie: x=1", "a__Set-Cookie: x=1", "a\r\nSet-Cookie: x=1"),
        ("a\0b", "a_b", "a\0b"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini", "boot.ini"),
        ("100%41.mp3", "100_41.mp3", "100%41.mp3"),
        ("прелюдия.flac", "________.flac", "прелюдия.flac"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}3pm.exe", "_3pm.exe", "\N{RIGHT-TO-LEFT OVERRIDE}3pm.exe"),
        ("half \ud800 surrogate", "half _ surrogate", "half ? surrogate"),
        ("", "download", "download"),
        ("folder/", "download", "download"),
    ],
)
def test_a_hostile_name_never_leaves_its_quotes(name, plain, full):  # MD-07
    value = content_disposition(name)
    quoted, _, extended = value.removeprefix("attachment; filename=").partition("; filename*=UTF-8''")
    assert quoted == f'"{plain}"'
    assert unquote(extended) == full


@given(st.text())
def test_any_name_makes_one_safe_header_line(name):
    value = content_disposition(name)
    assert value.isascii()
    assert value.isprintable()
    head, _, extended = value.partition("; filename*=UTF-8''")
    assert head.count('"') == 2
    assert not set('";,\\/ ') & set(extended)
