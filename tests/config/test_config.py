"""The configuration: where it comes from, what it refuses and how it says so, and that it never shows a secret."""

import os

import pytest

from tidelog.config import Config
from tidelog.errors import ConfigError, TidelogError

FULL = """
prefix = "acme"

[kafka]
bootstrap_servers = "k1:9092, k2:9092"
security_protocol = "SASL_SSL"
sasl_mechanism = "PLAIN"
sasl_plain_username = "app"
sasl_plain_password = "hush-kafka"
ssl_cafile = "ca.pem"
request_timeout = "20s"

[kafka.producer]
retry.backoff.ms = 50
"metadata.max.age.ms" = 1000

[kafka.consumer]
client_rack = "r1"

[sites.tokyo.redis]
url = "rediss://tokyo:6380/1"
password = "hush-tokyo"
ssl_check_hostname = false

[sites.osaka.redis]
url = "unix:///run/redis.sock?db=2"

[groups.bank]
key = "00112233445566778899aabbccddeeff"

[writer]
linger = "5ms"
batch_bytes = "128KiB"
"""


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file; gives its path."""

    def write_file(text):
        path = tmp_path / "tidelog.toml"
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
def refused(write):
    """Loads what must be refused; gives the error."""

    def load(text, environ=None):
        path = write(text)
        with pytest.raises(ConfigError) as raised:
            Config.load(path, environ or {})
        return raised.value

    return load


def test_a_full_file(write, tmp_path):
    config = Config.load(write(FULL), {})
    assert config.prefix == "acme"
    assert config.primary == "tokyo"
    assert config.kafka.bootstrap_servers == ("k1:9092", "k2:9092")
    assert config.kafka.ssl_cafile == tmp_path / "ca.pem"
    assert config.kafka.request_timeout == 20
    assert config.kafka.producer == {"retry_backoff_ms": 50, "metadata_max_age_ms": 1000}
    assert config.kafka.consumer == {"client_rack": "r1"}
    assert (config.writer.linger, config.writer.batch_bytes) == (0.005, 128 * 1024)
    assert config.writer.buffer_bytes == 64 * 1024 * 1024
    assert config.group_key("bank") == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert config.group_key("other") is None
    assert config.file == tmp_path / "tidelog.toml"
    tokyo = config.sites["tokyo"].redis
    assert tokyo.client_options() == {
        "password": "hush-tokyo",
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "ssl_check_hostname": False,
    }
    assert config.sites["osaka"].redis.url == "unix:///run/redis.sock?db=2"


def test_nothing_configured_is_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.load(environ={})
    assert config.model_dump() == Config().model_dump()
    assert config.kafka.bootstrap_servers == ("localhost:9092",)
    assert config.primary is None


def test_the_environment_alone_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.load(
        environ={
            "TIDELOG_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
            "TIDELOG_SITES__TOKYO__REDIS__URL": "redis://:hush@t",
            "TIDELOG_SITES__OSAKA__REDIS__URL": "redis://o",
            "TIDELOG_PRIMARY": "tokyo",
            "TIDELOG_WRITER__LINGER": "1ms",
            "TIDELOG_KAFKA__SSL_CHECK_HOSTNAME": "false",
            "TIDELOG_KAFKA__PRODUCER__RETRY_BACKOFF_MS": "70",
            "TIDELOG_TEST_KAFKA": "not ours to read",
            "TIDELOG_KAFKA_IMAGE": "neither",
            "HOME": "/",
        }
    )
    assert config.kafka.bootstrap_servers == ("a:1", "b:2")
    assert config.primary == "tokyo"
    assert config.sites["tokyo"].redis.client_options()["password"] == "hush"
    assert config.writer.linger == 0.001
    assert config.kafka.ssl_check_hostname is False
    assert config.kafka.producer == {"retry_backoff_ms": 70}


def test_the_environment_goes_before_the_file(write):
    environ = {"TIDELOG_PREFIX": "other", "TIDELOG_SITES__TOKYO__REDIS__URL": "rediss://elsewhere"}
    config = Config.load(write(FULL), environ)
    assert config.prefix == "other"
    assert config.sites["tokyo"].redis.url == "rediss://elsewhere"
    assert config.sites["tokyo"].redis.password.get_secret_value() == "hush-tokyo"
    assert list(config.sites) == ["tokyo", "osaka"]


def test_the_file_is_the_one_given_else_the_variables_else_the_folders(write, tmp_path, monkeypatch):
    write('prefix = "in-folder"')
    other, third = tmp_path / "other.toml", tmp_path / "third.toml"
    other.write_text('prefix = "named"')
    third.write_text('prefix = "given"')
    monkeypatch.chdir(tmp_path)
    assert Config.load(environ={}).prefix == "in-folder"
    assert Config.load(environ={"TIDELOG_CONFIG": str(other)}).prefix == "named"
    assert Config.load(third, {"TIDELOG_CONFIG": str(other)}).prefix == "given"


def test_arguments_alone_count_where_they_are_given(monkeypatch):
    monkeypatch.setenv("TIDELOG_PREFIX", "environment")
    assert Config(prefix="argument").prefix == "argument"
    assert Config().prefix == "tidelog"
    with pytest.raises(ConfigError, match=r"prefix.*got 'No'"):
        Config(prefix="No")


def test_nothing_can_be_changed(write):
    config = Config.load(write(FULL), {})
    for model, name in ((config, "prefix"), (config.kafka, "client_id"), (config.sites["tokyo"].redis, "url")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(model, name, "x")


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("[kafak]", "kafak", "kafka"),
        ("[kafka]\nbootstrap_server = 'x'", "kafka.bootstrap_server", "bootstrap_servers"),
        ("[sites.tokyo.redis]\nurl = 'redis://h'\npasword = 'x'", "sites.tokyo.redis.pasword", "password"),
        ("[sites.tokyo]\nrediss = 1\nredis.url = 'redis://h'", "sites.tokyo.rediss", "redis"),
        ("[groups.bank]\nkeyfile = 'x'", "groups.bank.keyfile", "key_file"),
        ("[writer]\nlinger_ms = 2", "writer.linger_ms", "linger"),
        ("[worker]\nfetchbytes = 2", "worker.fetchbytes", "fetch_bytes"),
    ],
)
def test_an_unknown_setting_is_named_with_its_file_and_a_guess(refused, text, key, hint):
    error = refused(text)
    assert f"unknown setting {key}" in str(error)
    assert "tidelog.toml" in str(error)
    assert f"did you mean {hint}?" in error.hint


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[writer]\nlinger = 'fast'", ["writer.linger", "got 'fast'", "1.5s"]),
        ("[writer]\nlinger = true", ["writer.linger", "got True"]),
        ("[writer]\nlinger = '-1s'", ["writer.linger", "got '-1s'"]),
        ("[writer]\nbatch_bytes = '64M'", ["writer.batch_bytes", "got '64M'", "64KiB"]),
        ("[writer]\nbatch_bytes = '1GiB'", ["writer.batch_bytes", "got '1GiB'"]),
        ("[writer]\nwrite_timeout = 0", ["writer.write_timeout", "got 0"]),
        ("[kafka]\nclient_id = 5", ["kafka.client_id", "got 5"]),
        ("[kafka]\nbootstrap_servers = []", ["kafka.bootstrap_servers", "got []"]),
        ("[kafka]\nsecurity_protocol = 'TLS'", ["kafka.security_protocol", "SASL_SSL", "got 'TLS'"]),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", ["kafka", "needs a sasl_mechanism"]),
        ("[kafka]\nsasl_mechanism = 'PLAIN'", ["kafka", "needs security_protocol"]),
        ("kafka = 'localhost'", ["kafka", "got 'localhost'"]),
        ("prefix = 'Acme'", ["prefix", "got 'Acme'"]),
        ("primary = 'tokyo'", ["primary", "tokyo", "not under sites"]),
        ("[sites.tokyo]", ["sites.tokyo.redis is not set"]),
        ("[sites.tokyo.redis]\nurl = 'http://h'", ["sites.tokyo.redis.url", "redis://", "got 'http://h'"]),
        ("[sites.tokyo.redis]\nurl = 'redis://'", ["sites.tokyo.redis.url", "no host"]),
        ("[sites.tokyo.redis]\nurl = 'unix://'", ["sites.tokyo.redis.url", "no socket"]),
        ("[sites.tokyo.redis]\nurl = 'redis://h'\nssl_cafile = 'x'", ["sites.tokyo.redis", "rediss://"]),
        ("[sites.Tokyo.redis]\nurl = 'redis://h'", ["sites.Tokyo"]),
        ("[groups.bank]\nkey = 'short'", ["groups.bank.key", "hexadecimal"]),
        ("[groups.bank]\nkey = 'aabb'", ["groups.bank.key", "16 to 64 bytes, this one 2"]),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_was_given(refused, text, parts):
    error = refused(text)
    for part in [*parts, "" if "is not set" in str(error) else "tidelog.toml"]:
        assert part in str(error)
    assert error.hint


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[kafka.producer]\nacks = 1", ["acks is pinned", "in the log once and in order"]),
        ("[kafka.producer]\nlinger.ms = 5", ["linger_ms is pinned", "[writer]"]),
        ("[kafka.producer]\nenable_idempotence = false", ["enable_idempotence is pinned"]),
        ("[kafka.consumer]\nauto.offset.reset = 'latest'", ["auto_offset_reset is pinned", "never a skip"]),
        ("[kafka.consumer]\ngroup_id = 'x'", ["group_id is pinned", "[worker]"]),
        ("[kafka.producer]\nretry_backof_ms = 5", ["no option retry_backof_ms", "did you mean retry_backoff_ms?"]),
        ("[kafka.admin]\nclient_rack = 'x'", ["admin has no option client_rack"]),
        ("[kafka.producer]\nbootstrap_servers = 'x'", ["set kafka.bootstrap_servers"]),
        ("[kafka.admin]\nrequest_timeout_ms = 5", ["set kafka.request_timeout"]),
        ("[kafka.producer]\npartitioner = 'x'", ["partitioner takes a Python object"]),
        ("[kafka.producer]\nkey_serializer = 'x'", ["key_serializer takes a Python object"]),
        ("[kafka.producer]\nretry_backoff_ms = 'soon'", ["retry_backoff_ms is a number, not 'soon'"]),
        ("[kafka.consumer]\nexclude_internal_topics = 'maybe'", ["is true or false, not 'maybe'"]),
        ("[kafka.consumer]\nclient_rack = 5", ["client_rack is a text, not 5"]),
    ],
)
def test_options_of_kafka_python_are_checked_one_by_one(refused, text, parts):
    error = refused(text)
    for part in [*parts, "kafka."]:
        assert part in str(error)


def test_every_problem_is_told_at_once(refused):
    error = refused("[writer]\nlinger = 'x'\n[kafak]\n[worker]\nfetch_bytes = 'y'")
    for key in ("writer.linger", "kafak", "worker.fetch_bytes"):
        assert key in str(error)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("TIDELOG_KAFKA_BOOTSTRAP_SERVERS", "TIDELOG_KAFKA__BOOTSTRAP_SERVERS"),
        ("TIDELOG_PREFX", "TIDELOG_PREFIX"),
        ("TIDELOG_SITE__TOKYO__REDIS__URL", "TIDELOG_SITES__TOKYO__REDIS__URL"),
        ("TIDELOG_NOTHING__LIKE_IT", "known here"),
    ],
)
def test_a_variable_that_looks_like_a_setting_is_refused(refused, variable, hint):
    error = refused("", {variable: "x"})
    assert f"{variable} is no setting" in str(error)
    assert hint in error.hint


def test_a_wrong_value_in_the_environment_names_its_variable(refused):
    error = refused("", {"TIDELOG_KAFKA__REQUEST_TIMEOUT": "soon"})
    assert "TIDELOG_KAFKA__REQUEST_TIMEOUT: kafka.request_timeout" in str(error)
    error = refused("", {"TIDELOG_WRITER__LINGR": "1ms"})
    assert "TIDELOG_WRITER__LINGR: unknown setting writer.lingr" in str(error)
    assert error.hint == "did you mean linger?"


@pytest.mark.parametrize(
    "environ",
    [
        {"TIDELOG_KAFKA": "x", "TIDELOG_KAFKA__CLIENT_ID": "y"},
        {"TIDELOG_KAFKA__CLIENT_ID": "y", "TIDELOG_KAFKA__CLIENT_ID__Z": "x"},
    ],
)
def test_variables_that_contradict_each_other_are_refused(refused, environ):
    assert "another variable" in str(refused("", environ)) or "TIDELOG_KAFKA" in str(refused("", environ))


def test_files_that_cannot_be_read(tmp_path, refused):
    with pytest.raises(ConfigError, match="there is no configuration file") as raised:
        Config.load(tmp_path / "none.toml", {})
    assert "--config" in raised.value.hint
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path, {})
    assert "is no TOML" in str(refused("prefix = "))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path / "binary.toml", {})


def test_secrets_come_from_files_beside_the_configuration(write, tmp_path):
    (tmp_path / "kafka.secret").write_text("hush-kafka\n")
    (tmp_path / "redis.secret").write_text("hush-redis\n")
    (tmp_path / "bank.key").write_text("ab" * 32 + "\n")
    text = """
    [kafka]
    sasl_plain_password_file = "kafka.secret"
    [sites.tokyo.redis]
    url = "redis://h"
    password_file = "redis.secret"
    [groups.bank]
    key_file = "bank.key"
    """
    config = Config.load(write(text), {})
    assert config.kafka.sasl_plain_password.get_secret_value() == "hush-kafka"
    assert config.sites["tokyo"].redis.client_options()["password"] == "hush-redis"
    assert config.group_key("bank") == b"\xab" * 32


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[groups.bank]\nkey_file = 'none'", "key_file cannot be read"),
        ("[groups.bank]\nkey = 'aa'\nkey_file = 'none'", "both given"),
        ("[sites.t.redis]\nurl = 'redis://:hush@h'\npassword = 'hush'", "inside url and beside it"),
        ("[sites.t.redis]\nurl = 'redis://:hush@h'\npassword_file = 'x'", "inside url and beside it"),
    ],
)
def test_a_secret_comes_from_one_place(refused, text, part):
    error = refused(text)
    assert part in str(error)
    assert "hush" not in str(error) + error.hint


@pytest.mark.parametrize(
    ("given", "url", "username", "password"),
    [
        ("redis://h:1/2", "redis://h:1/2", None, None),
        ("redis://:p%40ss@h", "redis://h", None, "p@ss"),
        ("rediss://u:p@h:1/2?health_check_interval=2", "rediss://h:1/2?health_check_interval=2", "u", "p"),
        ("redis://u@h", "redis://u@h".replace("u@", ""), "u", None),
        ("redis://h?password=p&db=3", "redis://h?db=3", None, "p"),
        ("unix:///run/r.sock", "unix:///run/r.sock", None, None),
        ("unix://u:p@/run/r.sock?db=1", "unix:///run/r.sock?db=1", "u", "p"),
        ("unix:///run/r.sock?db=1&username=u&password=p", "unix:///run/r.sock?db=1", "u", "p"),
    ],
)
def test_user_and_password_are_taken_out_of_the_url(given, url, username, password):
    redis = Config(sites={"t": {"redis": {"url": given}}}).sites["t"].redis
    assert (redis.url, redis.username) == (url, username)
    assert (redis.password.get_secret_value() if redis.password else None) == password


SECRETS = ("hush", "00112233445566778899aabbccddeeff")


def test_no_secret_is_ever_shown(write):
    path = write(FULL.replace("rediss://tokyo:6380/1", "rediss://u@tokyo:6380/1"))
    config = Config.load(path, {"TIDELOG_KAFKA__PROXY_URL": "socks5://me:hush-proxy@p:1"})
    shown = [repr(config), str(config), repr(config.describe()), repr(config.kafka), repr(config.sites)]
    for text in shown:
        assert not any(secret in text for secret in SECRETS), text


@pytest.mark.parametrize(
    "text",
    [
        "[kafka]\nsasl_plain_password = ['hush']",
        "[kafka]\nssl_password = 77\nsasl_plain_passwrd = 'hush'",
        "[groups.bank]\nkey = 'hush'",
        "[sites.t.redis]\nurl = 'htp://u:hush@h'",
        "[sites.t.redis]\nurl = 'redis://u:hush@'",
        "[sites.t.redis]\nurl = 'redis://h'\npassword = ['hush']",
        "[kafka.producer]\nsasl_plain_password = 'hush'",
        "[kafka.producer]\nproxy_url = 'socks5://u:hush@h'",
    ],
)
def test_no_error_shows_a_secret(refused, text):
    error = refused(text)
    assert "hush" not in str(error) + error.hint + repr(error)
    assert isinstance(error, TidelogError)


def test_describe_says_where_each_setting_comes_from(write, tmp_path):
    (tmp_path / "bank.key").write_text("ab" * 32)
    text = FULL.replace('key = "00112233445566778899aabbccddeeff"', 'key_file = "bank.key"')
    path = write(text)
    config = Config.load(path, {"TIDELOG_KAFKA__CLIENT_ID": "me", "TIDELOG_SITES__LONDON__REDIS__URL": "redis://u:p@l"})
    lines = {line.key: line for line in config.describe()}
    assert lines["kafka.client_id"] == ("kafka.client_id", "me", "TIDELOG_KAFKA__CLIENT_ID")
    assert lines["prefix"] == ("prefix", "acme", str(path))
    assert lines["writer.heartbeat"] == ("writer.heartbeat", 1.0, "default")
    assert lines["kafka.sasl_plain_password"] == ("kafka.sasl_plain_password", "********", str(path))
    assert lines["groups.bank.key"] == ("groups.bank.key", "********", str(path))
    assert lines["sites.london.redis.password"].origin == "TIDELOG_SITES__LONDON__REDIS__URL"
    assert lines["sites.london.redis.url"].value == "redis://l"
    assert lines["kafka.bootstrap_servers"].value == ["k1:9092", "k2:9092"]


def test_loading_leaves_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDELOG_PREFIX", "env")
    before = dict(os.environ)
    assert Config.load().prefix == "env"
    assert dict(os.environ) == before
