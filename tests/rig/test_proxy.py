"""The rig's own proof: the proxy cuts where it says it does, against a server that only counts."""

import hashlib
import re
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from rig.proxy import Coded, Kind, Proxy, Request
from rig.tus import Client


class Counter:
    """A server that reads one request per connection and remembers how its body ended."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.bodies: list[bytes] = []
        self.ends: list[str] = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.2)
                self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        head, body, end = b"", b"", "whole"
        try:
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(1 << 16)):
                    return
                head += more
            head, _, body = head.partition(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head.lower())
            length = int(found[1]) if found else sys.maxsize  # a coded body is read as far as it comes
            while len(body) < length:
                if not (more := connection.recv(1 << 16)):
                    end = "fin"
                    break
                body += more
        except ConnectionResetError:
            end = "rst"
        except TimeoutError:
            end = "stall"
        self.bodies.append(body)
        self.ends.append(end)
        if end == "whole":
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def counter() -> Iterator[Counter]:
    server = Counter()
    yield server
    server.stop()


def send(port: int, method: str, body: bytes) -> int | None:
    """Send one request; return its status, None when the connection was cut."""
    with Client(port) as client:
        try:
            return client.request(method, "/", {}, body).status
        except OSError:
            return None


def test_cuts_end_a_patch_in_three_ways_after_the_chosen_bytes(counter: Counter) -> None:
    body = bytes(range(256)) * 4096
    with Proxy(counter.port, cuts=3, span=(100_000, 300_000), seed=7) as proxy:
        answers = [send(proxy.port, "PATCH", body) for _ in range(4)]
        assert answers == [None, None, None, 204]
        assert proxy.cuts == 3
        assert [kind for kind, _ in proxy.made] == [Kind.FIN, Kind.RST, Kind.STALL]
    assert counter.ends == ["fin", "rst", "stall", "whole"]
    # An RST may overtake bytes that the server had not read yet; the other ends never do.
    kept = [len(part) for part in counter.bodies]
    sent = [count for _, count in proxy.made]
    assert all(100_000 <= count <= 300_000 for count in sent)
    assert (kept[0], kept[2]) == (sent[0], sent[2])
    assert kept[1] <= sent[1]
    assert all(body.startswith(part) for part in counter.bodies)
    assert counter.bodies[3] == body


def test_bodies_of_other_methods_are_never_cut(counter: Counter) -> None:
    with Proxy(counter.port, cuts=5, span=(10, 20)) as proxy:
        assert send(proxy.port, "POST", bytes(100_000)) == 204
        assert proxy.cuts == 0
    assert hashlib.sha256(counter.bodies[0]).digest() == hashlib.sha256(bytes(100_000)).digest()


def test_an_overridden_patch_is_a_patch(counter: Counter) -> None:
    with Proxy(counter.port, cuts=1, span=(10, 20)) as proxy, Client(proxy.port) as client:
        with pytest.raises(ConnectionError):
            client.request("POST", "/", {"X-HTTP-Method-Override": "PATCH"}, bytes(1000))
        assert proxy.cuts == 1


def test_the_strike_comes_before_the_connection_ends(counter: Counter) -> None:
    seen: list[int] = []
    with Proxy(counter.port, cuts=2, span=(10, 20), strike=seen.append) as proxy:
        for _ in range(2):
            assert send(proxy.port, "PATCH", bytes(1000)) is None
        assert seen == [1, 2]


def test_a_cut_that_would_fall_on_the_end_of_a_body_is_not_made(counter: Counter) -> None:
    with Proxy(counter.port, cuts=1, span=(1000, 1000)) as proxy:
        assert send(proxy.port, "PATCH", bytes(1000)) == 204
        assert proxy.cuts == 0


def test_a_coded_body_ends_with_its_last_trailer_however_it_is_cut_up() -> None:
    coded = b"5;why=not\r\nhello\r\nA\r\n0123456789\r\n0\r\nChecksum: sha1 x\r\n\r\n"
    for step in range(1, len(coded) + 1):
        body = Coded()
        pieces = [coded[at : at + step] for at in range(0, len(coded), step)]
        assert [body.take(piece) for piece in pieces[:-1]] == [step] * (len(pieces) - 1)
        assert not body.over
        assert body.take(pieces[-1] + b"PATCH / HTTP/1.1") == len(pieces[-1])
        assert body.over


def test_a_coded_patch_is_cut_too_and_a_whole_one_is_followed_by_the_next_request(counter: Counter) -> None:
    coded = b"A\r\n0123456789\r\n0\r\n\r\n"
    request = Request()
    head = b"PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = request.feed(head + coded + head)
    assert request.body.take(body) == len(coded)
    assert request.feed(body[len(coded) :]) == b""
    assert not request.body.over
    with Proxy(counter.port, cuts=1, span=(5, 5)) as proxy, Client(proxy.port) as client:
        client.head_of("PATCH", "/", {"Transfer-Encoding": "chunked"})
        client.send(coded)
        with pytest.raises(ConnectionError):
            client.reply()
        assert proxy.made == [(Kind.FIN, 5)]
    assert counter.bodies == [coded[:5]]


def test_a_client_that_a_server_answers_and_leaves_in_the_middle_of_a_body_hears_it() -> None:
    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 409 Conflict\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse)
        server.start()
        with Proxy(listener.getsockname()[1]) as proxy, Client(proxy.port) as client:
            client.head_of("PATCH", "/", {"Content-Length": str(1 << 30)})
            with pytest.raises(ConnectionError):
                client.send(bytes(1 << 28))  # far more than any buffer on the way takes
            assert client.reply().status == 409
        server.join()
