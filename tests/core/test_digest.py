"""The running digest, over both providers, and the hash of a whole file."""

import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusplyr.core.digest import (
    READ,
    LibcryptoProvider,
    RehashesProvider,
    StateMismatch,
    best_provider,
    hash_file_chunked,
)

PROVIDERS = {"libcrypto": LibcryptoProvider, "rehashes": RehashesProvider}
EMPTY = hashlib.sha256().hexdigest()


@pytest.fixture(scope="module", params=PROVIDERS)
def provider(request):
    return PROVIDERS[request.param]()


def view(data: bytes) -> memoryview:
    return memoryview(bytearray(data))


def fed(provider, data: bytes):
    digest = provider.new()
    digest.update(view(data))
    return digest


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", EMPTY),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
    ids=["nothing", "FIPS 180-4 B.1", "FIPS 180-4 B.3"],
)
def test_known_vectors(provider, data, expected):
    digest = fed(provider, data)
    assert digest.hexdigest() == expected
    assert digest.count == len(data)


@settings(max_examples=60)
@given(st.binary(max_size=300), st.data())
def test_saved_at_any_split_and_continued_it_is_the_same_digest(provider, data, more):
    cuts = sorted(more.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    digest = provider.new()
    for first, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        digest.update(view(data[first:end]))
        digest = provider.restore(digest.save(), end)
        assert digest.count == end
    assert digest.hexdigest() == sha256(data)


def test_saved_at_every_split_of_three_blocks(provider):
    data = bytes(range(192))
    for at in range(len(data) + 1):
        digest = PROVIDERS["libcrypto" if provider.tag.startswith(b"libcrypto") else "rehashes"]().restore(
            fed(provider, data[:at]).save(), at
        )
        digest.update(view(data[at:]))
        assert digest.hexdigest() == sha256(data)


def test_reading_the_digest_changes_nothing(provider):
    digest = fed(provider, b"ab")
    assert digest.hexdigest() == digest.hexdigest() == sha256(b"ab")
    digest.update(view(b"c"))
    assert digest.hexdigest() == sha256(b"abc")


def test_a_fork_and_its_origin_go_separate_ways(provider):
    digest = fed(provider, b"ab")
    fork = digest.fork()
    fork.update(view(b"X"))
    digest.update(view(b"c"))
    assert (digest.hexdigest(), fork.hexdigest()) == (sha256(b"abc"), sha256(b"abX"))
    assert (digest.count, fork.count) == (3, 3)


def test_a_saved_state_is_a_snapshot(provider):
    digest = fed(provider, b"ab")
    state = digest.save()
    digest.update(view(b"c"))
    assert provider.restore(state, 2).hexdigest() == sha256(b"ab")


def test_views_of_any_length_and_place(provider):
    data = bytearray(hashlib.sha256(b"seed").digest() * 640_000)  # 20 MiB
    digest = provider.new()
    whole, at = memoryview(data), 0
    for length in (0, 1, 63, 64, 65, 1024 * 1024 + 1, len(data)):
        piece = whole[at : at + length]
        digest.update(piece)
        at += len(piece)
    assert at == digest.count == len(data)
    assert digest.hexdigest() == sha256(data)


@pytest.mark.parametrize("count", [0, 2, 4, 2**63])
def test_a_state_of_another_count_is_refused(provider, count):
    with pytest.raises(StateMismatch):
        provider.restore(fed(provider, b"abc").save(), count)


def test_a_state_of_another_provider_is_refused():
    first, second = (make() for make in PROVIDERS.values())
    for mine, other in ((first, second), (second, first)):
        with pytest.raises(StateMismatch):
            mine.restore(fed(other, b"abc").save(), 3)


def test_a_state_of_another_version_is_refused(provider):
    state = bytearray(fed(provider, b"abc").save())
    state[len(provider.tag)] ^= 1  # the last byte of the tag
    with pytest.raises(StateMismatch):
        provider.restore(bytes(state), 3)


def test_a_torn_state_is_refused(provider):
    state = fed(provider, b"abc").save()
    for end in range(len(state)):
        with pytest.raises(StateMismatch):
            provider.restore(state[:end], 3)
    for longer in (state + b"\0", b"\0" + state):
        with pytest.raises(StateMismatch):
            provider.restore(longer, 3)


@given(st.binary(max_size=200))
def test_no_garbage_is_ever_interpreted(provider, state):
    with pytest.raises(StateMismatch):
        provider.restore(state, 3)


def test_the_first_choice_is_libcrypto_where_it_proves_itself():
    assert isinstance(best_provider(), LibcryptoProvider)


class Recording(io.BytesIO):
    """A file that remembers how much each read asked for, and how much it was given."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def readinto(self, buffer) -> int:
        count = super().readinto(buffer)
        self.reads.append((len(buffer), count))
        return count


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5", "sha512", "blake2b", "sha3_256"])
def test_a_file_is_hashed_with_any_algorithm(algorithm):
    assert hash_file_chunked(io.BytesIO(b"abc"), algorithm) == hashlib.new(algorithm, b"abc").hexdigest()


def test_sha256_is_the_default():
    assert hash_file_chunked(io.BytesIO(b"")) == EMPTY


def test_a_file_is_rewound_before_and_after():
    file = io.BytesIO(b"abc")
    file.seek(2)
    assert hash_file_chunked(file) == sha256(b"abc")
    assert file.tell() == 0
    assert hash_file_chunked(file) == sha256(b"abc")


def test_a_file_is_read_in_8_mib():
    data = bytes(READ + 5)
    file = Recording(data)
    assert hash_file_chunked(file) == sha256(data)
    assert READ == 8 * 1024 * 1024
    assert file.reads == [(READ, READ), (READ, 5), (READ, 0)]


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_real_file_is_hashed(tmp_path, buffering):
    path = tmp_path / "data"
    path.write_bytes(b"abc" * 1000)
    with path.open("rb", buffering=buffering) as file:
        assert hash_file_chunked(file) == sha256(b"abc" * 1000)


def test_an_unknown_algorithm_is_an_error():
    with pytest.raises(ValueError, match="unsupported"):
        hash_file_chunked(io.BytesIO(b""), "sha257")
