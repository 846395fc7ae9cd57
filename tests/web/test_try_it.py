"""The page at `/`: where it is, what its answers say, and that it brings everything along."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from rig.local import LocalClient, LocalServer
from rig.tus import Client
from tusplyr.web.try_it import TYPES
from web.service import PUBLIC, TOKEN, Service, ask

ROOT = Path(__file__).parents[2]
PAGE = files("tusplyr.web").joinpath("page")
SELF = "connect-src 'self';"
ADDRESSES = {name: "/" if name == "index.html" else f"/{name}" for name in TYPES}
each = pytest.mark.parametrize(("name", "address"), ADDRESSES.items(), ids=str)


def there(server: Service, path: str = "/") -> bool:
    with Client(server.port) as client:
        reply = ask(client, "GET", path)
        assert reply.status in {200, 404}
        return reply.status == 200


@each
def test_every_file_has_its_type_its_policy_and_a_tag(tus, name, address):
    reply = ask(tus, "GET", address)
    assert reply.status == 200
    assert reply.headers["content-type"] == TYPES[name]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert len(reply.body) == int(reply.headers["content-length"]) > 0
    head = ask(tus, "HEAD", address)
    assert (head.status, head.headers["content-length"]) == (200, reply.headers["content-length"])
    for tag in (reply.headers["etag"], f'"x", W/{reply.headers["etag"]}', "*"):
        kept = ask(tus, "GET", address, f"If-None-Match: {tag}")
        assert (kept.status, kept.headers["etag"], kept.body) == (304, reply.headers["etag"], b"")
    assert ask(tus, "GET", address, 'If-None-Match: "x"').status == 200
    assert ask(tus, "POST", address, body=b"").status == 405


def test_the_page_knows_where_uploads_live_and_whether_a_token_is_asked_for(tmp_path, tus, guarded):
    assert b'data-endpoint="files" data-token="no"' in ask(tus, "GET", "/").body
    with Client(guarded.port) as client:
        reply = ask(client, "GET", "/")
        assert b'data-endpoint="files" data-token="yes"' in reply.body
        assert TOKEN.encode() not in reply.body
        assert f"connect-src 'self' {PUBLIC};" in reply.headers["content-security-policy"], "where Location leads"
    with Service(tmp_path, BASE_PATH="/up/here", PUBLIC_URL=PUBLIC + ":8443/x") as server:
        with Client(server.port) as client:
            reply = ask(client, "GET", "/")
        assert b'data-endpoint="up/here"' in reply.body
        assert f"connect-src 'self' {PUBLIC}:8443;" in reply.headers["content-security-policy"]


def test_it_is_there_for_this_machine_alone_unless_it_is_asked_for(tmp_path):
    with Service(tmp_path / "1", HOST="0.0.0.0", AUTH_TOKEN=TOKEN) as server:
        assert not any(there(server, address) for address in ADDRESSES.values())
    with Service(tmp_path / "2", HOST="0.0.0.0", AUTH_TOKEN=TOKEN, TRY_IT="true") as server:
        assert all(there(server, address) for address in ADDRESSES.values())
    with Service(tmp_path / "3", TRY_IT="false") as server:
        assert not there(server)


def test_where_it_is_off_the_root_says_where_uploads_are_and_other_addresses_do_not(tmp_path):
    with Service(tmp_path, TRY_IT="false", BASE_PATH="/up/here") as server, Client(server.port) as client:
        for method in ("GET", "POST"):
            reply = ask(client, method, "/", body=b"" if method == "POST" else None)
            assert (reply.status, reply.headers["content-type"]) == (404, "text/plain; charset=utf-8")
            assert reply.body == (
                b"Nothing is here. Uploads are created at /up/here; the page to try them is off (TRY_IT)."
            )
        assert ask(client, "GET", "/page.js").body == b"There is no upload at this address."
        head = ask(client, "HEAD", "/")
        assert (head.status, head.body) == (404, b"")


def test_it_is_there_on_a_socket(tmp_path, tmp_path_factory):
    place = tmp_path_factory.mktemp("s") / "s"
    with LocalServer(tmp_path, place), LocalClient(place) as client:
        assert ask(client, "GET", "/", "Host: here").status == 200


def test_the_html_names_only_files_beside_it_and_holds_no_script_or_style():
    html = PAGE.joinpath("index.html").read_text()
    named = set(re.findall(r'(?:src|href)="([^"]*)"', html))
    assert named == set(TYPES) - {"index.html"}
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\son\w+=|\sstyle=|javascript:", html)


def test_the_package_has_the_files_and_no_others():
    assert {file.name for file in PAGE.iterdir()} == set(TYPES)
    css = PAGE.joinpath("page.css").read_text()
    assert "url(" not in css
    assert "@import" not in css


def test_the_licence_of_everything_that_is_bundled_is_there():
    licences = PAGE.joinpath("licences.txt").read_text()
    source = json.loads((ROOT / "web" / "page" / "package.json").read_text())
    lock = json.loads((ROOT / "web" / "page" / "package-lock.json").read_text())
    for name, version in source["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version, "pinned"
        assert re.search(rf"^{name} {re.escape(version)} \(MIT\)", licences, re.MULTILINE), name
    assert licences.count("opyright") >= len(re.findall(r"^-{80}$", licences, re.MULTILINE)) + 1
