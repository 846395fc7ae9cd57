"""Settings: which source counts, what each kind accepts, and that every mistake is told at once."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusplyr.settings import LISTENING, STORING, TABLE, BadSettings, Secret, Settings, load
from tusplyr.settings.kinds import DIRECTORY, duration, show_duration, show_size, size

TOKEN = "correct-horse-battery"
ROW = {setting.name: setting for setting in TABLE}


def problems(cwd, flags=None, environ=None):
    with pytest.raises(BadSettings) as caught:
        load(flags or {}, environ or {}, cwd, rules=(*LISTENING, *STORING))
    return caught.value.problems


def only_problem(cwd, flags=None, environ=None):
    (problem,) = problems(cwd, flags, environ)
    return problem


def test_nothing_given_is_the_default_of_every_setting(tmp_path):
    assert load({}, {"PATH": "/bin"}, tmp_path) == Settings(data_dir=tmp_path / "data")


def test_flag_counts_before_variable_before_toml_before_default(tmp_path):
    (tmp_path / "tusplyr.toml").write_text('port = 1\nbuffers = 5\nreserve = "1GB"\n')
    settings = load({"port": "3", "host": None}, {"TUSPLYR_PORT": "2", "TUSPLYR_BUFFERS": "6"}, tmp_path)
    assert (settings.port, settings.buffers, settings.reserve, settings.threads) == (3, 6, 10**9, 8)


def test_every_setting_is_understood_from_every_source(tmp_path):
    samples = {
        "host": "::1", "port": "9000", "socket": "/run/up.sock",
        "data_dir": "/srv/up", "base_path": "/a/b", "public_url": "https://example.org/x",
        "trusted_proxies": "10.0.0.0/8,::1",
        "auth_token": TOKEN, "allow_anonymous": "true", "try_it": "true",
        "cors_origins": "https://a.example,http://b.example:81",
        "max_length": "5GiB", "reserve": "0", "expire_after": "2d", "gone_as_not_found": "true", "retain": "0",
        "sweep_interval": "1h", "idle_timeout": "1.5m",
        "takeover_timeout": "9", "checkpoint_bytes": "1 MiB", "checkpoint_seconds": "0.5s", "buffers": "2",
        "threads": "1", "direct_body": "false", "store": "s3", "downloads": "redirect", "publish_slots": "4",
        "overlap": "false",
        "wait_for_stored": "5s", "s3_endpoint_url": "https://account.r2.cloudflarestorage.com",
        "s3_bucket": "audio.bucket", "s3_image_bucket": "image-bucket", "s3_file_bucket": "file-bucket",
        "s3_prefix": "a/b/", "s3_region": "eu-west-1",
        "s3_storage_class": "STANDARD_IA", "s3_addressing": "path", "s3_access_key_id": "access",
        "s3_secret_access_key": "secret", "s3_public_url": "https://cdn.example.org", "s3_presign": "5m",
        "s3_image_public_url": "https://images.example.org", "s3_file_public_url": "https://files.example.org",
        "s3_part_size": "8MiB", "s3_put_limit": "0", "s3_concurrency": "8", "s3_timeout": "10s",
        "log_level": "debug", "log_format": "json",
    }  # fmt: skip
    assert set(samples) == set(ROW)
    (tmp_path / "tusplyr.toml").write_text("\n".join(f"{name} = {text!r}" for name, text in samples.items()))
    from_toml = load({}, {}, tmp_path, rules=())
    assert load(samples, {}, tmp_path / "elsewhere", rules=()) == from_toml
    environ = {ROW[name].variable: text for name, text in samples.items()}
    assert load({}, environ, tmp_path / "elsewhere", rules=()) == from_toml
    assert all(getattr(from_toml, row.field) != row.default for row in TABLE)
    assert from_toml.cors_origins == ("https://a.example", "http://b.example:81")
    assert (from_toml.idle_timeout, from_toml.max_length, from_toml.checkpoint_bytes) == (90.0, 5 * 2**30, 2**20)


def test_toml_may_use_its_own_numbers_booleans_and_lists(tmp_path):
    (tmp_path / "tusplyr.toml").write_text(
        'port = 81\nidle_timeout = 2.5\ndirect_body = false\ncors_origins = ["https://a.example", "https://b.example"]\n'
    )
    settings = load({}, {}, tmp_path)
    assert (settings.port, settings.idle_timeout, settings.direct_body) == (81, 2.5, False)
    assert settings.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    "line", ["port = [80]", "port = 80.5", "port = 2020-01-01", "data_dir = ['a', 'b']", "host.a = 1"]
)
def test_toml_values_of_the_wrong_type_are_refused(tmp_path, line):
    (tmp_path / "tusplyr.toml").write_text(line)
    assert str(tmp_path / "tusplyr.toml") in only_problem(tmp_path)


@pytest.mark.parametrize("content", [TOKEN, TOKEN + "\n", TOKEN + "\r\n"])
def test_variable_with_file_behind_its_name_reads_that_file_without_its_last_newline(tmp_path, content):
    (tmp_path / "token").write_bytes(content.encode())
    assert load({}, {"TUSPLYR_AUTH_TOKEN_FILE": "token"}, tmp_path).auth_token == TOKEN


@pytest.mark.parametrize("content", [TOKEN + "\n\n", TOKEN + " \n", "\n", ""])
def test_only_one_newline_is_taken_off_a_file(tmp_path, content):
    (tmp_path / "token").write_text(content)
    assert "AUTH_TOKEN (TUSPLYR_AUTH_TOKEN_FILE) is not usable" in only_problem(
        tmp_path, {}, {"TUSPLYR_AUTH_TOKEN_FILE": "token"}
    )


def test_variable_and_its_file_together_are_a_problem(tmp_path):
    (tmp_path / "port").write_text("81")
    assert "PORT is set twice" in only_problem(tmp_path, {}, {"TUSPLYR_PORT": "80", "TUSPLYR_PORT_FILE": "port"})


def test_file_that_cannot_be_read_is_told_without_its_name(tmp_path):
    problem = only_problem(tmp_path, {}, {"TUSPLYR_AUTH_TOKEN_FILE": TOKEN})
    assert "TUSPLYR_AUTH_TOKEN_FILE" in problem
    assert "No such file" in problem
    assert TOKEN not in problem


def test_files_that_are_not_text_or_far_too_long_are_problems(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"a" * 2**21)
    found = problems(tmp_path, {}, {"TUSPLYR_HOST_FILE": "binary", "TUSPLYR_LOG_LEVEL_FILE": "long"})
    assert "not UTF-8" in found[0]
    assert "more than" in found[1]


def test_config_is_named_by_flag_or_variable_and_must_then_exist(tmp_path):
    (tmp_path / "other.toml").write_text("port = 82\n")
    (tmp_path / "tusplyr.toml").write_text("port = 83\n")
    assert load({"config": "other.toml"}, {"TUSPLYR_CONFIG": "missing.toml"}, tmp_path).port == 82
    assert load({}, {"TUSPLYR_CONFIG": "other.toml"}, tmp_path).port == 82
    assert "missing.toml cannot be used (No such file" in only_problem(tmp_path, {"config": "missing.toml"})


def test_every_problem_of_every_source_is_told_at_once(tmp_path):
    (tmp_path / "tusplyr.toml").write_text('prot = 80\nreserve = "64 QB"\n[s3]\nbucket = "b"\n')
    told = "\n".join(
        problems(
            tmp_path,
            {"idle_timeout": "0s"},
            {"TUSPLYR_DATADIR": "x", "TUSPLYR_PORT": "eighty", "TUSPLYR_STORE": "s4", "TUSPLYR_AUTH_TOKEN": "short"},
        )
    )
    toml = tmp_path / "tusplyr.toml"
    assert told.splitlines() == [
        f"prot in {toml} is not a setting of tusplyr; did you mean port?",
        f"s3 in {toml} is not a setting of tusplyr.",
        "TUSPLYR_DATADIR is not a variable of tusplyr; did you mean TUSPLYR_DATA_DIR?",
        f"RESERVE ({toml}) is '64 QB'; it must be {ROW['reserve'].kind.must}.",
        f"AUTH_TOKEN (TUSPLYR_AUTH_TOKEN) is not usable; it must be {ROW['auth_token'].kind.must}.",
        "PORT (TUSPLYR_PORT) is 'eighty'; it must be a whole number from 0 to 65535.",
        "STORE (TUSPLYR_STORE) is 's4'; it must be filesystem or s3.",
        f"IDLE_TIMEOUT (--idle-timeout) is '0s'; it must be {ROW['idle_timeout'].kind.must}.",
    ]


def test_broken_toml_is_one_problem_beside_the_others(tmp_path):
    (tmp_path / "tusplyr.toml").write_text("port = \n")
    first, second = problems(tmp_path, {"threads": "many"})
    assert "not TOML: Invalid value (at line 1" in first
    assert second.startswith("THREADS (--threads) is 'many'")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org"])
def test_host_beyond_loopback_needs_a_token_or_consent(tmp_path, host):
    problem = only_problem(tmp_path, {}, {"TUSPLYR_HOST": host})
    assert problem.startswith(f"HOST (TUSPLYR_HOST) is {host}, which other machines can reach")
    assert load({}, {"TUSPLYR_HOST": host, "TUSPLYR_AUTH_TOKEN": TOKEN}, tmp_path).host == host
    assert load({"allow_anonymous": True}, {"TUSPLYR_HOST": host}, tmp_path).host == host
    assert load({}, {"TUSPLYR_HOST": host}, tmp_path, rules=()).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_neither(tmp_path, host):
    assert load({"host": host}, {}, tmp_path).host == host


def test_a_socket_takes_the_place_of_host_and_port(tmp_path):
    settings = load({"socket": "up.sock"}, {}, tmp_path)
    assert (settings.socket, settings.auth_token) == (tmp_path / "up.sock", None)
    told = problems(tmp_path, {"socket": "up.sock", "buffers": "1"}, {"TUSPLYR_HOST": "0.0.0.0", "TUSPLYR_PORT": "80"})
    assert len(told) == 2
    assert told[1] == "SOCKET (--socket) takes the place of HOST and PORT; keep one."
    (tmp_path / "tusplyr.toml").write_text('socket = "up.sock"\nport = 8000\n')
    assert only_problem(tmp_path).endswith("tusplyr.toml) takes the place of PORT; keep one.")


S3 = {"store": "s3", "s3_bucket": "bucket"}
KEYS = {"s3_access_key_id": "access", "s3_secret_access_key": "secret"}


def test_a_store_in_a_bucket_needs_one(tmp_path):
    told = "STORE (--store) is s3, and there is no bucket; set S3_BUCKET (TUSPLYR_S3_BUCKET)."
    assert only_problem(tmp_path, {"store": "s3"}) == told
    settings = load(S3, {}, tmp_path)
    assert settings.buckets == {"audio": "bucket", "images": "bucket", "files": "bucket"}


def test_a_bucket_that_nothing_goes_to_is_told(tmp_path):
    told = "STORE (default) is filesystem, and S3_BUCKET, S3_PREFIX would be left aside; set STORE to s3, "
    variables = {"TUSPLYR_S3_PREFIX": "a/", "TUSPLYR_S3_BUCKET": "bucket"}
    assert only_problem(tmp_path, {}, variables) == told + "or to filesystem if it is meant."


def test_whoever_names_the_store_may_keep_the_settings_of_a_bucket(tmp_path):
    variables = {"TUSPLYR_STORE": "filesystem", "TUSPLYR_S3_BUCKET": "bucket", "TUSPLYR_S3_PREFIX": "a/"}
    assert load({}, variables, tmp_path, rules=STORING).store_kind == "filesystem"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "store/ in DATA_DIR"),
        ({"store": "s3", "s3_bucket": "one"}, "s3://one/ at AWS"),
        (
            {"store": "s3", "s3_bucket": "one", "s3_prefix": "a/b/", "s3_endpoint_url": "https://r2.example/"},
            "s3://one/a/b/ at https://r2.example",
        ),
        (
            {"store": "s3", "s3_bucket": "one", "s3_image_bucket": "two", "s3_prefix": "a/"},
            "s3://one/a/ (audio, files), s3://two/a/ (images) at AWS",
        ),
    ],
)
def test_where_content_is_published_is_told_in_words_that_ledgers_have_kept(tmp_path, given, place):
    assert load(given, {}, tmp_path).place == place


def test_images_and_files_may_have_buckets_of_their_own(tmp_path):
    settings = load(S3 | {"s3_image_bucket": "pictures", "s3_file_bucket": "rest"}, {}, tmp_path)
    assert settings.buckets == {"audio": "bucket", "images": "pictures", "files": "rest"}


def test_a_public_address_is_that_of_what_is_in_its_bucket(tmp_path):
    main, images = "https://cdn.example.org", "https://images.example.org"
    settings = load(S3 | {"s3_public_url": main}, {}, tmp_path)
    assert settings.public_urls == {"audio": main, "images": main, "files": main}
    settings = load(S3 | {"s3_public_url": main, "s3_image_bucket": "pictures"}, {}, tmp_path)
    assert settings.public_urls == {"audio": main, "files": main}
    settings = load(S3 | {"s3_image_bucket": "pictures", "s3_image_public_url": images}, {}, tmp_path)
    assert settings.public_urls == {"images": images}


@pytest.mark.parametrize("bucket", ["bucket", "pictures"])
def test_an_endpoint_that_contains_the_bucket_is_refused(tmp_path, bucket):
    given = S3 | {"s3_image_bucket": "pictures", "s3_endpoint_url": f"https://account.r2.example/{bucket}/"}
    told = only_problem(tmp_path, given)
    assert f"ends with the bucket {bucket}, which is added to it" in told
    assert told.endswith("set it to https://account.r2.example instead.")


def test_an_endpoint_may_have_another_path(tmp_path):
    given = S3 | {"s3_endpoint_url": "https://example.org/bucket/s3"}
    assert load(given, {}, tmp_path, rules=STORING).s3_endpoint_url == "https://example.org/bucket/s3"


@pytest.mark.parametrize("missing", KEYS)
def test_half_of_the_credentials_is_told(tmp_path, missing):
    told = only_problem(tmp_path, S3 | {name: text for name, text in KEYS.items() if name != missing})
    assert "S3_ACCESS_KEY_ID" in told
    assert "S3_SECRET_ACCESS_KEY" in told


def test_credentials_are_in_no_repr(tmp_path):
    settings = load(S3 | {"s3_access_key_id": "first-half", "s3_secret_access_key": "second-half"}, {}, tmp_path)
    shown = repr(settings)
    assert "first-half" not in shown
    assert "second-half" not in shown


def test_wrong_token_is_not_reported_as_a_missing_one_too(tmp_path):
    assert "AUTH_TOKEN" in only_problem(tmp_path, {"host": "0.0.0.0", "auth_token": "short"})


def test_secret_is_in_no_repr_and_in_no_message(tmp_path):
    settings = load({"auth_token": TOKEN}, {}, tmp_path)
    assert TOKEN not in repr(settings) + f"{settings}" + repr([settings.auth_token])
    assert settings.auth_token == TOKEN
    bad = "battery staple horse"
    environ = {"TUSPLYR_AUTH_TOKEN": bad, "TUSPLYR_PORT": "x", "TUSPLYR_AUTH_TOKN": bad}
    assert bad not in "\n".join(problems(tmp_path, {}, environ))
    (tmp_path / "tusplyr.toml").write_text(f"auth_token = {{ it = '{bad}' }}")
    assert bad not in only_problem(tmp_path)


def test_secret_survives_a_copy_as_a_secret():
    assert repr(pickle.loads(pickle.dumps(Secret(TOKEN)))) == repr(Secret("x"))


REFUSED = {
    "host": ["", "a b", "127.0.0.256", "[::1]", "host:80", "-a", "a/b", "1.2.3"],
    "port": ["", "-1", "+80", "8_0", "65536", "80.0", "٨٠", "tcp://10.0.0.1:80"],
    "socket": ["", "\0abstract"],
    "data_dir": ["", "a\0b"],
    "base_path": ["", "/", "files", "/files/", "//files", "/a/../b", "/.", "/a b", "/é", "/a?b",
                  "/health", "/metrics/x", "/a\n"],
    "public_url": ["", "example.org", "ftp://a.example", "https://", "https://a.example?x", "https://a.example/#y",
                   "https://me:pw@a.example", "https://a.example/\r\nX: y", "https://a.example:99999", "//a.example"],
    "trusted_proxies": ["10.0.0.1/8", "example.org", "10.0.0.0/33", "10.0.0.1,", "*", "127.1"],
    "auth_token": ["", "fifteen-letters", "sixteen letters!", "sixteen-letters\n", "sixteen-lettérs!"],
    "allow_anonymous": ["", "maybe", "2"],
    "cors_origins": ["*,https://a.example", "a.example", "https://a.example/", "https://a.example/x",
                     "https://a.example,", "null"],
    "max_length": ["0", "-1", "9223372036854775808", "1e9", "1.5GiB", "64 XB", "GiB", "1 0", "1  KB", ""],
    "expire_after": ["-1", "1w", ""],
    "gone_as_not_found": ["maybe", ""],
    "retain": ["-1", "1w", "3651d", "inf", "nan", "1e3", ".5", ""],
    "idle_timeout": ["0", "0s"],
    "buffers": ["1", "65537", "16MiB"],
    "threads": ["0", "257"],
    "store": ["S3", "Filesystem", ""],
    "wait_for_stored": ["301", "-1"],
    "publish_slots": ["0", "65"],
    "s3_bucket": ["", "ab", "Bucket", "a_b", "-ab", "ab.", "a/b", "a" * 64],
    "s3_prefix": ["a", "/a/", "a//", "../", "a/./", "a b/", "é/"],
    "s3_region": ["", "eu west", "é"],
    "s3_access_key_id": ["", "two words", "sécret"],
    "s3_secret_access_key": ["", "two words\n"],
    "s3_presign": ["0", "8d"],
    "s3_part_size": ["5MB", "5GiB"],
    "s3_put_limit": ["5GiB", "-1"],
    "log_level": ["INFO", "trace"],
    "log_format": ["xml"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts])
def test_what_is_not_of_the_grammar_is_refused_with_what_would_be_right(tmp_path, name, text):
    chosen = {"store": "filesystem"} if name.startswith("s3_") else {}  # else they would be left aside unasked
    problem = only_problem(tmp_path, {name: text} | chosen)
    assert problem.startswith(f"{name.upper()} (--{name.replace('_', '-')}) is ")
    assert problem.endswith(f"it must be {ROW[name].kind.must}.")
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1", 1), ("10B", 10), ("1kb", 1000), ("1KiB", 1024), ("64 MiB", 2**26), ("64mib", 2**26), ("1GB", 10**9),
     ("2TiB", 2**41), ("9223372036854775807", 2**63 - 1)],
)  # fmt: skip
def test_sizes(text, bytes_):
    assert size(1).parse(text) == bytes_


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("0.25 s", 0.25)]
)
def test_durations(text, seconds):
    assert duration().parse(text) == seconds


@given(st.integers(0, 2**63 - 1))
def test_size_that_was_shown_reads_back_as_itself(value):
    assert size(0).parse(show_size(value)) == value


@given(st.integers(0, 3650 * 86_400 * 1000))
def test_duration_that_was_shown_reads_back_as_itself(milliseconds):
    assert duration(zero=True).parse(show_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize("row", [row for row in TABLE if row.shown_default], ids=lambda row: row.name)
def test_default_is_of_its_own_grammar(row):
    assert row.kind.parse(row.shown_default) == row.default


def test_paths_start_at_the_working_directory(tmp_path):
    settings = load({"data_dir": "d"}, {}, tmp_path)
    assert (settings.database, settings.spool, settings.store) == (
        tmp_path / "d/tusplyr.db",
        tmp_path / "d/spool",
        tmp_path / "d/store",
    )
    assert load({"data_dir": "/var/d"}, {}, tmp_path).data_dir == Path("/var/d")
    assert DIRECTORY.show(Path("/var/d")) == "/var/d"


def test_settings_cannot_be_changed(tmp_path):
    with pytest.raises(AttributeError):
        load({}, {}, tmp_path).port = 1
