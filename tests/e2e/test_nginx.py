"""The recipe of docs/operations.md in a real nginx: TLS outside, a Unix socket inside.

Owns nothing of the recipe: it is cut out of the page, and only addresses and file names are put in place. Must not
know the server's inside.
"""

import hashlib
import http.client
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import trustme

from rig.local import LocalServer
from rig.server import free_port

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
(RECIPE,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
NAME = "uploads.example.org"
TUS = {"Tus-Resumable": "1.0.0", "Host": NAME}
APPEND = TUS | {"Content-Type": "application/offset+octet-stream"}
MIB = 1024 * 1024
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class Nginx:
    """One nginx in the foreground, with the recipe and a certificate of our own."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.port = free_port()
        self.folder = folder
        authority = trustme.CA()
        authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(folder / "cert.pem"))
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        recipe = RECIPE
        for written, here in {
            "unix:/run/tusplyr/tusplyr.sock": f"unix:{place}",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/uploads.pem": str(folder / "cert.pem"),
            "/etc/ssl/uploads.key": str(folder / "cert.pem"),
        }.items():
            assert recipe.count(written) == 1, written
            recipe = recipe.replace(written, here)
        user = "user root;\n" if os.getuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {folder / 'nginx.pid'};\nerror_log {folder / 'error.log'};\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{recipe}}}\n"
        )

    def __enter__(self) -> Self:
        line = [str(NGINX), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "e")]
        self.process = subprocess.Popen(line)
        deadline = time.monotonic() + 30
        while self.ask("HEAD", "/files/" + "0" * 32)[0] not in {404, 423}:
            assert self.process.poll() is None, (self.folder / "e").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def __exit__(self, *_rest: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        source: str = "127.0.0.1",
    ):
        """Send one request on a connection of its own; status 0 when nobody answers."""
        connection = _Named("127.0.0.1", self.port, self.context, source)
        try:
            connection.request(method, path, body or None, TUS | (headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except ConnectionRefusedError:
            return 0, {}, b""
        finally:
            connection.close()


class _Named(http.client.HTTPConnection):
    """A TLS connection to an address, under the name that the certificate has."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, source: str = "127.0.0.1") -> None:
        super().__init__(host, port, timeout=20, source_address=(source, 0))
        self._context = context

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=NAME)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "tusplyr.sock"


@pytest.fixture
def server(tmp_path: Path, place: Path) -> Iterator[LocalServer]:
    if NGINX is None:
        missing = "nginx is not installed"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with LocalServer(tmp_path, place) as running:
        yield running


@pytest.fixture
def nginx(server: LocalServer, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path, server.place) as running:
        yield running


def create(nginx: Nginx, length: int, **headers: str) -> str:
    status, answer, _ = nginx.ask("POST", "/files", {"Upload-Length": str(length)} | headers)
    assert status == 201
    address = answer["Location"]
    assert address.startswith(f"https://{NAME}/files/"), address
    return address.removeprefix(f"https://{NAME}")


def test_a_cut_upload_is_continued_through_nginx_and_its_address_is_the_one_outside(server, nginx):
    content = os.urandom(24 * MIB)
    path = create(nginx, len(content))
    connection = _Named("127.0.0.1", nginx.port, nginx.context)
    connection.putrequest("PATCH", path, skip_host=True)
    for name, value in (APPEND | {"Upload-Offset": "0", "Content-Length": str(len(content))}).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(content[: 10 * MIB])
    connection.close()  # in the middle of the body
    status, answer, _ = nginx.ask("HEAD", path)
    offset = int(answer["Upload-Offset"])
    assert (status, 0 < offset <= 10 * MIB) == (200, True), "nginx had passed on what it got"
    status, answer, _ = nginx.ask("PATCH", path, APPEND | {"Upload-Offset": str(offset)}, content[offset:])
    assert (status, answer["Upload-Offset"]) == (204, str(len(content)))
    assert nginx.ask("GET", path)[2] == content
    assert f'"url":"https://{NAME}{path}"'.encode() in nginx.ask("GET", path + "/status")[2]
    (stored,) = server.stored()
    assert stored.stem == hashlib.sha256(content).hexdigest()[:16]
    assert nginx.ask("GET", "/")[0] == 404, "the page is not outside"


def test_health_is_outside_and_metrics_are_for_those_who_are_named(nginx):
    for path in ("/health/live", "/health/ready"):
        assert nginx.ask("GET", path)[::2] == (200, b'{"status":"ok"}')
    status, _, told = nginx.ask("GET", "/metrics")
    assert (status, b"tusplyr_uploads_created_total" in told) == (200, True)
    assert nginx.ask("GET", "/metrics", source="127.0.0.2")[0] == 403, "anybody else"
    assert nginx.ask("GET", "/health/live", source="127.0.0.2")[0] == 200


def test_what_a_client_says_of_hosts_leads_nowhere_else(nginx):
    create(nginx, 1, **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"})
    create(nginx, 1, Forwarded="for=127.0.0.1;host=evil.example;proto=http")


def test_while_the_server_restarts_head_is_told_to_wait_and_the_upload_goes_on(server, nginx):
    path = create(nginx, 3)
    assert nginx.ask("PATCH", path, APPEND | {"Upload-Offset": "0"}, b"ab")[0] == 204
    server.stop()
    status, answer, _ = nginx.ask("HEAD", path)
    assert (status, answer["Retry-After"]) == (423, "1")
    assert answer["Access-Control-Allow-Origin"] == "*", "a page elsewhere sees the status"
    assert nginx.ask("PATCH", path, APPEND | {"Upload-Offset": "2"}, b"c")[0] == 503
    server.start()
    assert nginx.ask("HEAD", path)[1]["Upload-Offset"] == "2"
    assert nginx.ask("PATCH", path, APPEND | {"Upload-Offset": "2"}, b"c")[0] == 204


def test_parts_are_known_by_the_addresses_that_a_client_was_given(server, nginx):
    parts = []
    for content in (b"to", b"gether"):
        made = create(nginx, len(content), **{"Upload-Concat": "partial"})
        assert nginx.ask("PATCH", made, APPEND | {"Upload-Offset": "0"}, content)[0] == 204
        parts.append(f"https://{NAME}{made}")
    status, answer, _ = nginx.ask("POST", "/files", {"Upload-Concat": f"final;{' '.join(parts)}"})
    assert (status, answer["Location"].startswith(f"https://{NAME}/files/")) == (201, True)
    assert nginx.ask("GET", answer["Location"].removeprefix(f"https://{NAME}"))[2] == b"together"
