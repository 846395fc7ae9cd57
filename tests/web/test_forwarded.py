"""What `Location` begins with behind proxies: whose word counts, and what hostile words come to (id D-25)."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.tus import Client
from tusplyr.web.forwarded import LONGEST, Proxies, origin
from web.service import BODY, PUBLIC, Service, ask, post

PROXY, OTHER, CLIENT = "10.0.0.7", "10.0.0.8", "203.0.113.9"
PROXIES = Proxies((ip_network("10.0.0.0/24"), ip_network("2001:db8:1::/48")))
HOST = ("Host", "inner:8000")


def seen(*lines, peer=PROXY, proxies=PROXIES, host=HOST):
    """Return the origin of a request with these header lines."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (host, *lines)]
    return origin({"scheme": "http", "client": (peer, 4711) if peer else None, "headers": raw}, proxies)


def forwarded(*lines, **more):
    return seen(*(("Forwarded", line) for line in lines), **more)


def others(proto=None, host=None, **more):
    pairs = (("X-Forwarded-Proto", proto), ("X-Forwarded-Host", host))
    return seen(*((name, value) for name, value in pairs if value is not None), **more)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("proto=https;host=up.example", "https://up.example"),
        ("for=203.0.113.9;proto=https;host=up.example;by=10.0.0.7", "https://up.example"),
        ('For="[2001:db8:cafe::17]:4711";Proto=HTTPS;Host="up.example:8443"', "https://up.example:8443"),
        ('proto="https" ; host="up\\.example"', "https://up.example"),
        ("proto=https;host=up.example:8443", "https://up.example:8443"),
        ('host="[2001:db8::1]:81"', "http://[2001:db8::1]:81"),
        ("proto=https", "https://inner:8000"),
        ("host=up.example", "http://up.example"),
        ("for=203.0.113.9", "http://inner:8000"),
        ("proto=wss;host=up.example", "http://up.example"),
        ("", "http://inner:8000"),
        (" , ;; ,", "http://inner:8000"),
    ],
)
def test_forwarded_of_a_trusted_peer_decides(line, expected):
    assert forwarded(line) == expected


@pytest.mark.parametrize(
    ("proto", "host", "expected"),
    [
        ("https", "up.example", "https://up.example"),
        ("HTTPS", "up.example:8443", "https://up.example:8443"),
        ("https", None, "https://inner:8000"),
        (None, "up.example", "http://up.example"),
        ("http, https", "evil.example, up.example", "https://up.example"),
        (" https ", " up.example ", "https://up.example"),
        ("", "", "http://inner:8000"),
        ("javascript", "up.example", "http://up.example"),
    ],
)
def test_x_forwarded_of_a_trusted_peer_decides_and_the_last_value_is_its_own(proto, host, expected):
    assert others(proto, host) == expected


def test_several_lines_count_as_one_list():
    lines = ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", "up.example")
    assert seen(*lines) == "http://up.example"
    assert forwarded("host=evil.example", "for=203.0.113.9;host=up.example") == "http://up.example"


def test_forwarded_goes_before_x_forwarded():
    mixed = ("Forwarded", "host=up.example"), ("X-Forwarded-Host", "not.example"), ("X-Forwarded-Proto", "https")
    assert seen(*mixed) == "http://up.example"


@pytest.mark.parametrize("peer", [CLIENT, None, "2001:db8:2::1", "::ffff:203.0.113.9", "not an address"])
def test_another_peer_decides_nothing(peer):
    assert forwarded("proto=https;host=evil.example", peer=peer) == "http://inner:8000"
    assert others("https", "evil.example", peer=peer) == "http://inner:8000"


@pytest.mark.parametrize("peer", ["10.0.0.255", "::ffff:10.0.0.7", "2001:db8:1:2::3"])
def test_a_peer_is_known_by_its_network(peer):
    assert others("https", "up.example", peer=peer) == "https://up.example"


def test_nobody_is_trusted_unless_named_and_a_peer_without_address_only_where_that_is_said():
    assert others("https", "up.example", proxies=Proxies()) == "http://inner:8000"
    assert others("https", "up.example", proxies=Proxies(local=True), peer=None) == "https://up.example"
    assert others("https", "up.example", proxies=Proxies(local=True), peer=CLIENT) == "http://inner:8000"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            f"host=evil.example, for={CLIENT};proto=https;host=up.example", "https://up.example", id="client's own"
        ),
        pytest.param(
            f"host=evil.example, for={CLIENT};proto=https;host=up.example, for={OTHER};proto=http;host=inner",
            "https://up.example",
            id="two proxies, and the client's own",
        ),
        pytest.param(
            f'for={CLIENT};proto=https;host=up.example, for="[2001:db8:1::5]:9";host=inner',
            "https://up.example",
            id="a proxy with a port",
        ),
        pytest.param(f"for={CLIENT};host=up.example, for={OTHER}", "http://up.example", id="one names no host"),
        pytest.param("host=evil.example, for=unknown;host=up.example", "http://up.example", id="unknown"),
        pytest.param("host=evil.example, for=_hidden;host=up.example", "http://up.example", id="obfuscated"),
        pytest.param("host=evil.example, host=up.example", "http://up.example", id="says from nobody"),
    ],
)
def test_elements_count_up_to_the_first_trusted_hop_and_no_further(line, expected):
    assert forwarded(line) == expected


HOSTILE_HOSTS = [
    *("a/b", "a b", "a\\b", "a@b", "a?b", "a#b", "evil.example/", "user:secret@evil.example", "<script>", "a%00b", '"'),
    *(
        "up.example:",
        "up.example:x",
        "up.example:99999",
        ":80",
        ".",
        "..",
        "a..b",
        ".a",
        "[::1",
        "::1",
        "[zz]",
        "[1:2]",
    ),
    *("\xfc.example", "a" * 300, "a." * 2000, "up.example\tx"),
]


@pytest.mark.parametrize("host", HOSTILE_HOSTS, ids=ascii)
def test_a_host_that_is_none_falls_back_to_the_host_header(host):
    assert others("https", host) == "https://inner:8000"
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    assert forwarded(f'proto=https;host="{quoted}"') == "https://inner:8000"
    assert seen(host=("Host", host)) is None


@pytest.mark.parametrize(
    "line",
    [
        'host="up.example',
        'host="up.example"x',
        "host=up.example;host=not.example",
        "host",
        "=up.example",
        "host = up.example",
        "host=up.example x",
        'a="\\',
        "host=up.example;" + "a=b;" * LONGEST,
        '"' * 3000,
    ],
    ids=lambda line: line[:30],
)
def test_a_line_that_is_not_of_the_grammar_counts_for_nothing(line):
    assert forwarded(line) == "http://inner:8000"
    assert forwarded("host=evil.example", line) == "http://inner:8000", "nor is anything before it believed"
    assert forwarded(line, "host=up.example") == "http://up.example", "what came behind it is the proxy's own"


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_is_sent_an_origin_comes_out_that_can_stand_in_an_address(one, two):
    for found in (forwarded(one), forwarded(f"for={OTHER};{one}", two), others(one, two)):
        scheme, _, host = found.partition("://")
        assert scheme in {"http", "https"}
        assert host
        assert not set(host) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:[]")


def test_a_real_server_believes_its_proxy_alone(tmp_path):
    lines = ("X-Forwarded-Proto: https", "X-Forwarded-Host: up.example")
    with Service(tmp_path / "near", TRUSTED_PROXIES="127.0.0.0/8") as server, Client(server.port) as client:
        made = post(client, *lines, BODY, "Upload-Length: 1", body=b"x")
        path = made.headers["location"].removeprefix("https://up.example")
        assert path.startswith("/files/")
        assert b'"url":"https://up.example/files/' in ask(client, "GET", path + "/status", *lines).body
        for bad in ("X-Forwarded-Host: a/b, <>", 'Forwarded: host="', "Forwarded: host=" + "x" * 60_000):
            reply = post(client, bad, "Upload-Length: 1")
            assert (reply.status, reply.headers["location"][:17]) == (201, "http://127.0.0.1:")
    with Service(tmp_path / "far", TRUSTED_PROXIES="10.0.0.0/8") as server, Client(server.port) as client:
        assert post(client, *lines, "Upload-Length: 1").headers["location"].startswith("http://127.0.0.1:")


def test_a_public_url_goes_before_any_proxy(tmp_path):
    with Service(tmp_path, TRUSTED_PROXIES="127.0.0.1", PUBLIC_URL=PUBLIC) as server, Client(server.port) as client:
        made = post(client, "Forwarded: proto=http;host=not.example", "Upload-Length: 1")
        assert made.headers["location"].startswith(PUBLIC + "/files/")
