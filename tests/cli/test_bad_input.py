"""What cannot be: one sentence, a hint, the documented exit code, and nothing changed."""

import pytest

from tidelog.config import Config
from tidelog.consumers.deployment import open_store
from tidelog.gateways.cli import main

UNREACHABLE = '[kafka]\nbootstrap_servers = "localhost:1"\nconnect_timeout = "200ms"\nrequest_timeout = "500ms"\n'


CASES = (
    (("group", "create", "Bank!"), 2, "no name for a group"),
    (("group", "create", "bank"), 2, "already"),
    (("group", "show", "nowhere"), 2, "nowhere"),
    (("group", "create", "sealed", "--keyed"), 10, "key"),
    (("volume", "create", "UPPER", "-g", "bank", "--size", "1MiB"), 2, "no name for a volume"),
    (("volume", "create", "v", "-g", "bank", "--size", "big"), 2, "no size"),
    (("volume", "create", "v", "-g", "bank", "--size", "0"), 2, "size 0"),
    (("volume", "create", "v", "-g", "bank", "--size", "1MiB", "--block-size", "1000"), 2, "power of two"),
    (("volume", "create", "ledger", "-g", "bank", "--size", "2MiB"), 2, "exists"),
    (("volume", "write", "ledger", "-g", "bank", "--offset", "1MiB"), 2, "1048576"),
    (("volume", "write", "ledger", "-g", "bank", "--offset", "-1"), 2, "-1"),
    (("volume", "write", "nothere", "-g", "bank"), 2, "no volume"),
    (("volume", "write", "ledger", "-g", "bank", "--input", "no/such/file"), 2, "no file"),
    (("volume", "read", "ledger", "-g", "bank", "--offset", "1MiB", "--length", "1"), 2, "1048576 bytes"),
    (("volume", "read", "nothere", "-g", "bank"), 2, "nothere"),
    (("volume", "read", "ledger", "-g", "bank", "--site", "paris"), 2, "paris"),
    (("volume", "import", "no/such/file", "ledger", "-g", "bank"), 2, "no file"),
    (("volume", "copy", "ledger", "ledger", "-g", "bank"), 2, "onto itself"),
    (("volume", "copy", "ledger", "nothere", "-g", "bank"), 2, "no volume 'nothere'"),
    (("volume", "copy", "nothere", "ledger", "-g", "bank"), 2, "no volume 'nothere'"),
    (("volume", "copy", "ledger", "ledger", "-g", "bank", "--pitc", "never"), 2, "no copy never"),
    (("volume", "restore", "ledger", "-g", "bank", "--pitc", "never"), 2, "no copy never"),
    (("volume", "restore", "nothere", "-g", "bank", "--pitc", "never"), 2, "no volume 'nothere'"),
    (("volume", "restore", "ledger", "-g", "bank"), 2, "--pitc"),
    (("pitc", "show", "never", "-g", "bank"), 2, "never"),
    (("pitc", "read", "never", "ledger", "-g", "bank"), 2, "never"),
    (("pitc", "verify", "never", "-g", "bank"), 2, "never"),
    (("pitc", "drop", "never", "-g", "bank"), 2, "never"),
    (("pitc", "create", "Not A Name", "-g", "bank"), 2, "no name for a copy"),
    (("pitc", "create", "x", "-g", "bank", "--timeout", "soon"), 2, "no duration"),
    (("pitc", "create", "x", "-g", "bank", "--sites", "paris"), 2, "paris"),
    (("site", "run", "paris"), 2, "paris"),
    (("site", "status", "paris"), 2, "paris"),
    (("site", "rebuild", "paris", "-g", "bank", "--yes"), 2, "paris"),
    (("site", "rebuild", "osaka", "-g", "nowhere", "--yes"), 2, "nowhere"),
    (("log", "show", "nowhere"), 2, "nowhere"),
    (("no-such-command",), 2, "no-such-command"),
    (("pitc", "create", "x"), 2, "--group"),
)


def test_bad_input_is_one_sentence_and_a_code(bank, deployment, subtests):
    """All on one deployment, since none of them changes anything."""
    store = open_store(deployment, "tokyo", "bank")
    before = (store.volumes(), store.copies())
    for arguments, code, says in CASES:
        with subtests.test(" ".join(arguments)):
            result = bank(*arguments, stdin=b"x")
            assert result.code == code
            errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and says.lower() in errors[0].lower()
            assert result.out == b""
            assert (store.volumes(), store.copies()) == before


def test_a_copy_onto_a_volume_of_another_group(bank, deployment, sites):
    """Volumes of one group only are consistent with one another: the other group's is none, under whatever name."""
    assert bank("group", "create", "orders").code == 0
    sites.wait_for_store("tokyo", "orders")
    assert bank("volume", "create", "invoices", "-g", "orders", "--size", "1MiB").code == 0
    stores = [open_store(deployment, "tokyo", group) for group in ("bank", "orders")]
    assert sites.site("tokyo").group("orders").wait_until(2)
    before = [store.volumes() for store in stores]
    for source, target in (("ledger", "invoices"), ("invoices", "ledger"), ("ledger", "orders/invoices")):
        result = bank("volume", "copy", source, target, "-g", "bank")
        assert result.code == 2 and result.err.count("error: ") == 1
        assert "no volume" in result.err and "there are: ledger" in result.err and "(group bank)" in result.err
    assert [store.volumes() for store in stores] == before
    for group in ("bank", "orders"):
        shown = bank("log", "show", group)
        assert shown.code == 0 and "VolumeCreated" in shown.text and "VolumeCopied" not in shown.text


def test_nothing_to_write_is_said(bank):
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"").code == 2


@pytest.fixture
def real(tmp_path, capsys):
    """The command line on a configuration of its own, with the real deployment."""

    def run(toml: str, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "t.toml"
        path.write_text(toml)
        code = main(["-c", str(path), *arguments])
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return code, err

    return run


def test_kafka_unreachable(real):
    for arguments in (("group", "list"), ("status",), ("pitc", "list", "-g", "bank"), ("log", "show", "bank")):
        code, err = real(UNREACHABLE, *arguments)
        assert code == 11 and err.startswith("error: ") and "localhost:1" in err and "hint: " in err


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("prefixx = 'a'", "did you mean prefix"),
        ("[writer]\nlinger = 'soon'", "linger"),
        ("[kafka]\n[kafka.producer]\nacks = 1", "acks"),
        ("this is not toml", "TOML"),
        ("[sites.tokyo.redis]\nurl = 'http://x'", "redis://"),
    ],
)
def test_bad_configuration(real, toml, says):
    code, err = real(toml, "config", "check")
    assert code == 10 and says in err


def test_a_configuration_that_is_not_there(capsys):
    assert main(["-c", "no/such.toml", "config", "show"]) == 10
    assert "no/such.toml" in capsys.readouterr().err


def test_redis_unreachable(cli, deployment, monkeypatch):
    from tidelog.stores.redis_keyspace import RedisKeyspace

    cli("group", "create", "bank")
    monkeypatch.setattr(deployment, "keyspace", lambda *_: RedisKeyspace.from_url("redis://localhost:1"))
    for arguments in (
        ("volume", "list", "-g", "bank"),
        ("pitc", "read", "one", "ledger", "-g", "bank"),
        ("site", "rebuild", "osaka", "-g", "bank", "--yes"),
    ):
        result = cli(*arguments)
        assert result.code == 12 and result.err.startswith("error: ")


def test_an_evicting_store_is_refused(cli, monkeypatch):
    from tidelog.stores.memory import MemoryKeyspace

    cli("group", "create", "bank")
    monkeypatch.setattr(MemoryKeyspace, "eviction_policy", lambda _: "allkeys-lru")
    result = cli("site", "rebuild", "osaka", "-g", "bank", "--yes")
    assert result.code == 12 and "noeviction" in result.err


def test_another_sites_store_is_refused(bank, deployment, monkeypatch):
    of = deployment.keyspace
    monkeypatch.setattr(deployment, "keyspace", lambda _, group: of("tokyo", group))
    for arguments in (
        ("volume", "list", "-g", "bank", "--site", "osaka"),
        ("site", "rebuild", "osaka", "-g", "bank", "--yes"),
    ):
        result = bank(*arguments)
        assert result.code == 12 and "tokyo" in result.err
    assert open_store(deployment, "tokyo", "bank").rebuilding() is None


def test_the_configuration_is_shown_with_origins_and_without_secrets(cli, config_file):
    config_file.write_text(config_file.read_text() + 'password = "hunter2"\n')
    shown = cli("-b", "elsewhere:1", "config", "show")
    assert shown.code == 0 and "hunter2" not in shown.text and "********" in shown.text
    assert str(config_file) in shown.text and "--bootstrap-servers" in shown.text and "elsewhere:1" in shown.text
    assert "hunter2" not in cli("config", "show", "--json").text
    assert Config.load(config_file, {}).sites["london"].redis.password is not None


@pytest.mark.parametrize("interval", ["0s", "1us", "99ms"])
def test_a_status_that_would_do_nothing_but_ask_is_refused(bank, interval):
    """With a floor that is said."""
    refused = bank("status", "--watch", "--interval", interval)
    assert refused.code == 2 and f"--interval {interval} is too short" in refused.err and "100ms" in refused.err
