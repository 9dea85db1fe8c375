"""`tidelog group materialise`: any moment as a clone, and what `tidelog clone` does with it."""

import json

import pytest

from tests.cli.conftest import SITES
from tidelog.consumers.deployment import open_store
from tidelog.stores.clone_fill import CloneFill

MIB = 1024 * 1024
AT = ("-g", "bank", "--site", "osaka")


@pytest.fixture
def past(bank, sites):
    """The command line, and the sequences after which volume ledger begins with one, two and three; the second is
    copy ``noon``. Then comes a volume more, and ledger goes."""
    group = sites.group("bank")
    ledger, sequences = group.volume("ledger"), []
    for text in (b"one", b"two", b"three"):
        ledger.write(0, text)
        group.flush()
        sequences.append(group.session.confirmed.sequence)
        if text == b"two":
            group.mark("noon").wait(["osaka"], timeout=30)
    group.create_volume("orders", MIB).write(5, b"order")
    group.delete_volume("ledger")
    group.flush()
    for site in SITES:
        assert sites.site(site).group("bank").wait_until(group.session.confirmed.sequence)
    group.close()
    return bank, sequences


def read(cli, name):
    result = cli("clone", "read", name, "ledger", *AT, "--length", "5")
    assert result.code == 0
    return result.out


def made(cli, name, *moment):
    result = cli("group", "materialise", "bank", name, "--site", "osaka", *moment, "--json")
    assert result.code == 0, result.err
    return json.loads(result.text)


def test_each_way_to_name_a_moment(past):
    cli, (one, two, three) = past
    first = made(cli, "first", "--sequence", str(one))
    assert (first["state"], first["materialised"], first["pitc"], first["sequence"]) == ("ready", True, None, one)
    second = made(cli, "second", "--before-event", str(two + 1))
    third = made(cli, "third", "--at", made(cli, "probe", "--sequence", str(three))["time"])
    assert (second["pitc"], second["sequence"], third["pitc"], third["sequence"]) == (None, two, "noon", three)
    assert [read(cli, name) for name in ("first", "second", "third")] == [b"one\0\0", b"two\0\0", b"three"]
    said = cli("group", "materialise", "bank", "fourth", "--site", "osaka", "--sequence", str(three))
    assert said.code == 0 and said.out == b"" and f"as it was at sequence {three}" in said.err
    assert "it began from copy noon" in said.err
    listed = json.loads(cli("clone", "list", *AT, "--json").text)["clones"]
    assert [clone["name"] for clone in listed] == ["first", "fourth", "probe", "second", "third"]
    assert "the log at sequence" in cli("clone", "list", *AT).text


def test_it_is_compared_exported_and_dropped(past, tmp_path, deployment):
    cli, (_, two, three) = past
    made(cli, "at-noon", "--sequence", str(two + 1))
    receipts = json.loads(cli("pitc", "show", "noon", "-g", "bank", "--json").text)
    shown = json.loads(cli("clone", "show", "at-noon", *AT, "--digest", "--json").text)
    assert shown["digest"] in json.dumps(receipts) and shown["volumes"][0]["blocks_changed"] == 0
    made(cli, "later", "--sequence", str(three))
    shown = json.loads(cli("clone", "show", "later", *AT, "--json").text)
    assert shown["volumes"][0]["extents"] == [{"offset": 0, "length": 4096}] and shown["digest"] is None
    for other in ("noon", "at-noon"):
        diff = json.loads(cli("clone", "diff", "later", other, *AT, "--json").text)
        assert (diff["from"]["name"], diff["to"]["name"]) == (other, "later")
        assert [(one["name"], one["blocks"]) for one in diff["volumes"]] == [("ledger", 1)]
    assert "no volume changed" in cli("clone", "diff", "at-noon", "noon", *AT).err
    image = tmp_path / "ledger.img"
    assert cli("clone", "export", "later", "ledger", str(image), *AT).code == 0
    assert image.read_bytes() == b"three".ljust(MIB, b"\0")
    exported = cli("clone", "export", "later", *AT, "--to", str(tmp_path / "avro"), "--json")
    assert exported.code == 0 and json.loads(exported.text)["manifest"]["pitc"]["sequence"] == three
    assert cli("export", "verify", str(tmp_path / "avro")).code == 0
    refused = cli("pitc", "import", str(tmp_path / "avro"), "--site", "osaka")
    assert refused.code == 2 and "may end inside a write batch" in refused.err
    assert cli("clone", "write", "later", "ledger", *AT, stdin=b"drill").code == 0
    assert read(cli, "later") == b"drill"
    refused = cli("clone", "export", "later", *AT, "--to", str(tmp_path / "again"))
    assert refused.code == 2 and "not any more" in refused.err and not (tmp_path / "again").exists()
    for name in ("at-noon", "later"):
        assert cli("clone", "drop", name, *AT).code == 0
    assert open_store(deployment, "osaka", "bank").holds() == []


def test_what_was_cut_short_is_listed_and_goes_on(past, monkeypatch):
    """Ctrl-C before its end: forming, for nobody to read; the same command ends it."""
    cli, (_, _, three) = past
    command = ("group", "materialise", "bank", "was", "--site", "osaka", "--sequence", str(three))

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CloneFill, "finish", interrupted)
        assert cli(*command).code == 130
    (listed,) = json.loads(cli("clone", "list", *AT, "--json").text)["clones"]
    assert (listed["name"], listed["state"]) == ("was", "forming") and "forming" in cli("clone", "list", *AT).text
    for refused in (
        ("clone", "read", "was", "ledger", *AT),
        ("clone", "show", "was", *AT),
        ("clone", "export", "was", *AT, "--to", "/nowhere"),
    ):
        result = cli(*refused)
        assert result.code == 2 and "still being materialised" in result.err and "--site osaka" in result.err
    other = cli("group", "materialise", "bank", "was", "--site", "osaka", "--sequence", "3")
    assert other.code == 2 and f"is being materialised at sequence {three}" in other.err
    assert cli(*command).code == 0 and read(cli, "was") == b"three"
    again = cli(*command)
    assert again.code == 2 and "is there already" in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("bank", "x", "--site", "osaka"), 2, "exactly one"),
        (("bank", "x", "--site", "osaka", "--sequence", "3", "--before-event", "4"), 2, "exactly one"),
        (("bank", "x", "--site", "osaka", "--sequence", "0"), 2, "they begin at 1"),
        (("bank", "x", "--site", "osaka", "--before-event", "1"), 2, "nothing before the first event"),
        (("bank", "x", "--site", "osaka", "--at", "noon"), 2, "'noon' is no time"),
        (("bank", "x", "--site", "osaka", "--sequence", "9999"), 3, "behind the last event"),
        (("bank", "x", "--site", "osaka", "--at", "2999-01-01T00:00:00Z"), 3, "can be reached from sequence 1 ("),
        (("bank", "x", "--site", "osaka", "--at", "2001-01-01T00:00:00Z"), 3, "can be reached from sequence 1 ("),
        (("bank", "../x", "--site", "osaka", "--sequence", "3"), 2, "no name for a clone"),
        (("bank", "x", "--site", "paris", "--sequence", "3"), 2, "no site 'paris'"),
        (("none", "x", "--site", "osaka", "--sequence", "3"), 2, "none"),
    ],
)
def test_what_is_refused(bank, deployment, arguments, code, said):
    """One sentence, the window where it is one, and nothing is made."""
    result = bank("group", "materialise", *arguments)
    assert result.code == code and said in result.err and result.out == b""
    assert open_store(deployment, "osaka", "bank").clones.all() == []


def test_what_an_export_needs(past, tmp_path):
    """A volume and a file, or a place; not of a clone of a copy."""
    cli, (one, _, _) = past
    made(cli, "first", "--sequence", str(one))
    for arguments in ((), ("ledger",), ("ledger", str(tmp_path / "a"), "--to", str(tmp_path / "b"))):
        refused = cli("clone", "export", "first", *arguments, *AT)
        assert refused.code == 2 and "say what to export" in refused.err
    assert cli("pitc", "clone", "noon", "drill", *AT).code == 0
    refused = cli("clone", "export", "drill", *AT, "--to", str(tmp_path / "b"))
    assert refused.code == 2 and list(tmp_path.glob("b*")) == []
    without = cli("clone", "read", "first", "orders", *AT)
    assert without.code == 2 and "no volume 'orders'" in without.err
