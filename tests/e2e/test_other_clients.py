"""Unmodified clients in Python and Java, each in a process of its own, over connections that drop.

Owns what each of them needs to be told to survive. Must not know the server's inside. The clients come
from PyPI (with the development requirements) and Maven Central (`make e2e` copies it to tests/e2e/java/lib).
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from rig.driver import drive
from rig.outcome import check_sent
from rig.proxy import Kind
from rig.server import Server
from rig.source import Source, write_nothing, write_wav
from rig.ways import LENGTH, MIB, cutting

pytestmark = pytest.mark.e2e

PYTHON = Path(__file__).parent / "python"
TUSPY = {"chunk_size": MIB, "retries": 20, "retry_delay": 0}
RESUMABLE_UPLOAD = {"chunk_size": MIB, "max_retries": 20, "retry_delay": 0.1}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return write_wav(tmp_path / "take.wav", LENGTH)


def python(script: str, source: Source, endpoint: str, **choices: object) -> dict[str, Any]:
    """Run a driver in Python."""
    arguments = {"endpoint": endpoint, "path": str(source.path)} | choices
    return drive(sys.executable, f"{script}.py", cwd=PYTHON, **arguments)


def check_survives_cuts(server: Server, script: str, source: Source, **choices: Any) -> None:
    """A driver in Python sends through the proxy; all cuts are made and the file arrives."""
    with cutting(server) as proxy:
        report = python(script, source, f"{proxy.url}/files", **choices)
        assert {kind for kind, _ in proxy.made} == set(Kind)
    assert report["url"].startswith(proxy.url), report
    check_sent(server, report, source, choices.get("parts", 0))


@pytest.mark.parametrize("kind", ["uploader", "async_uploader"])
@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
def test_tuspy_survives_every_kind_of_cut(server: Server, source: Source, kind: str, *, checksum: bool) -> None:
    options = TUSPY | {"upload_checksum": checksum}
    check_survives_cuts(server, "send_tuspy", source, kind=kind, options=options)


@pytest.mark.parametrize("parts", [0, 3], ids=["one upload", "upload_multiple"])
def test_aiotus_survives_every_kind_of_cut(server: Server, source: Source, parts: int) -> None:
    check_survives_cuts(server, "send_aiotus", source, parts=parts)


@pytest.mark.parametrize("parts", [0, 3], ids=["one upload", "parallel_uploads"])
@pytest.mark.parametrize("checksum", [False, "sha1", "sha256"], ids=["plain", "sha1", "sha256"])
def test_resumable_upload_survives_every_kind_of_cut(
    server: Server, source: Source, parts: int, checksum: str | bool
) -> None:
    options = RESUMABLE_UPLOAD | {"checksum": checksum}
    check_survives_cuts(server, "send_resumable_upload", source, parts=parts, options=options)


@pytest.mark.parametrize(
    ("script", "choices"),
    [
        ("send_tuspy", {"kind": "uploader", "options": TUSPY}),
        ("send_aiotus", {"parts": 0}),
        ("send_resumable_upload", {"parts": 0, "options": RESUMABLE_UPLOAD}),
    ],
)
def test_an_empty_file_is_stored(server: Server, tmp_path: Path, script: str, choices: dict[str, object]) -> None:
    source = write_nothing(tmp_path / "take.wav")
    check_sent(server, python(script, source, f"{server.url}/files", **choices), source)


@pytest.mark.parametrize("payload", [10 * MIB, MIB], ids=["one request", "requests of 1 MiB"])
def test_tus_java_client_survives_every_kind_of_cut(
    server: Server, source: Source, java: tuple[str | Path, ...], payload: int
) -> None:
    with cutting(server) as proxy:
        report = drive(*java, f"{proxy.url}/files", source.path, str(payload), cwd=source.path.parent)
        assert {kind for kind, _ in proxy.made} == set(Kind)
    check_sent(server, report, source)


def test_tus_java_client_may_end_with_an_empty_request(
    server: Server, tmp_path: Path, java: tuple[str | Path, ...]
) -> None:
    source = write_wav(tmp_path / "take.wav", 2 * MIB)
    report = drive(*java, f"{server.url}/files", source.path, str(source.length // 2), cwd=tmp_path)
    check_sent(server, report, source)
