"""`tidelog pitc clone` and `tidelog clone`, and what commands say of copies that are held."""

import json

import pytest

from tests.cli.conftest import SITES
from tidelog.consumers.deployment import open_store
from tidelog.stores.store import HoldKind
from tidelog.testing.readiness import wait_until

MIB = 1024 * 1024
AT = ("-g", "bank", "--site", "osaka")


@pytest.fixture
def cloned(bank):
    """Copy ``nightly``, and a clone ``drill-1`` of it at osaka."""
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"as it was").code == 0
    assert bank("pitc", "create", "nightly", "-g", "bank", "--wait").code == 0
    made = bank("pitc", "clone", "nightly", "drill-1", *AT)
    assert made.code == 0 and made.out == b"" and "clone drill-1 of copy nightly" in made.err
    return bank


def read(cli, name="drill-1", length="12"):
    result = cli("clone", "read", name, "ledger", *AT, "--length", length)
    assert result.code == 0
    return result.out


def test_a_drill(cloned, tmp_path):
    before = cloned("pitc", "verify", "nightly", "-g", "bank", "--json").text
    assert read(cloned) == b"as it was\0\0\0"
    wrote = cloned("clone", "write", "drill-1", "ledger", *AT, "--offset", "3", stdin=b"written")
    assert wrote.code == 0 and "wrote 7 bytes at offset 3" in wrote.err
    file = tmp_path / "more"
    file.write_bytes(b"z" * 5000)
    assert cloned("clone", "write", "drill-1", "ledger", *AT, "--offset", "64KiB", "-i", str(file)).code == 0
    assert read(cloned) == b"as written\0\0"
    assert cloned("pitc", "read", "nightly", "ledger", *AT, "--length", "12").out == b"as it was\0\0\0"
    assert cloned("pitc", "verify", "nightly", "-g", "bank", "--json").text == before
    listed = json.loads(cloned("clone", "list", *AT, "--json").text)
    assert [(clone["name"], clone["pitc"]) for clone in listed["clones"]] == [("drill-1", "nightly")]
    assert "drill-1" in cloned("clone", "list", *AT).text
    shown = json.loads(cloned("clone", "show", "drill-1", *AT, "--json").text)
    (volume,) = shown["volumes"]
    assert (shown["version"], shown["site"], volume["blocks_changed"]) == (1, "osaka", 3)
    assert volume["bytes_changed"] == 3 * 4096
    assert volume["extents"] == [{"offset": 0, "length": 4096}, {"offset": 65536, "length": 8192}]
    assert "12 KiB" in cloned("clone", "show", "drill-1", *AT).text
    image = tmp_path / "drill.img"
    assert cloned("clone", "export", "drill-1", "ledger", str(image), *AT).code == 0
    content = image.read_bytes()
    assert len(content) == MIB and content[:10] == b"as written" and content[65536:70536] == b"z" * 5000
    dropped = cloned("clone", "drop", "drill-1", *AT)
    assert dropped.code == 0 and "dropped" in dropped.err
    assert cloned("clone", "list", *AT).text.count("drill") == 0
    gone = cloned("clone", "read", "drill-1", "ledger", *AT)
    assert gone.code == 2 and "no clone 'drill-1'" in gone.err and "hint: " in gone.err


def test_a_copy_with_a_clone_is_held(cloned, deployment, sites):
    """Shown by whom; a command does not drop it; a drop in the log hides it, and it goes when the clone does."""
    holders = json.loads(cloned("pitc", "list", "-g", "bank", "--json").text)["copies"][0]["held_by"]
    assert holders == [{"site": "osaka", "kind": "clone", "holder": "drill-1", "expires": None}]
    assert "held by clone drill-1 at osaka" in cloned("pitc", "list", "-g", "bank").text
    assert "held by clone drill-1 at osaka" in cloned("pitc", "show", "nightly", "-g", "bank").text
    assert json.loads(cloned("pitc", "show", "nightly", "-g", "bank", "--json").text)["held_by"] == holders
    refused = cloned("pitc", "drop", "nightly", "-g", "bank")
    assert refused.code == 2 and "held by clone drill-1 at osaka" in refused.err
    assert "tidelog clone drop drill-1 --group bank --site osaka" in refused.err
    group = sites.group("bank")
    group.drop_copy("nightly")
    group.mark("later")
    group.close()
    for site in SITES:
        assert sites.site(site).group("bank").wait_until(group.session.confirmed.sequence)
    assert [copy.name for copy in sites.site("osaka").group("bank").copies()] == ["later"]
    assert read(cloned) == b"as it was\0\0\0"

    def listed():
        return json.loads(cloned("pitc", "list", "-g", "bank", "--json").text)

    (gone,) = listed()["dropped"]
    assert (gone["name"], gone["held_by"]) == ("nightly", holders)
    formed = lambda: [copy["name"] for copy in listed()["copies"] if "formed" in str(copy["sites"]["osaka"])]  # noqa: E731
    assert wait_until(lambda: "nightly" not in formed(), timeout_s=30)
    assert "dropped" in cloned("pitc", "list", "-g", "bank").text
    shown = cloned("pitc", "show", f"#{gone['sequence']}", *AT)
    assert shown.code == 2 or "held by" in shown.text
    store = open_store(deployment, "osaka", "bank")
    assert len(store.copies(dropping=True)) == 2
    dropped = cloned("clone", "drop", "drill-1", *AT, "--json")
    told = {"version": 1, "group": "bank", "site": "osaka", "name": "drill-1", "dropped": True}
    assert (dropped.code, json.loads(dropped.text)) == (0, told)
    assert wait_until(lambda: len(store.copies(dropping=True)) == 1, timeout_s=30)


def test_exports_and_reads_hold_their_copy(cloned, deployment, tmp_path, monkeypatch):
    """Dropped in the midst, each comes to its end; and lets go."""
    store = open_store(deployment, "osaka", "bank")
    seen = []

    def dropping(name):
        def hold(self, copy, kind, holder=""):
            lease = real(self, copy, kind, holder)
            seen.append((name, [hold.kind for hold in store.holds() if hold.kind is not HoldKind.CLONE]))
            store.mark_dropping(copy)
            return lease

        real = type(store).hold
        return hold

    for turn, arguments in enumerate(
        (
            ("pitc", "read", "m", "ledger", *AT, "--length", "9"),
            ("volume", "read", "ledger", *AT, "--pitc", "m", "--length", "9"),
            ("pitc", "export", "m", *AT, "--to", str(tmp_path / "avro")),
            ("pitc", "export", "m", *AT, "--raw", "all", "--to", str(tmp_path / "raw")),
            ("pitc", "export", "m", *AT, "--raw", f"ledger={tmp_path / 'one.img'}"),
            ("volume", "export", "ledger", str(tmp_path / "two.img"), *AT, "--pitc", "m"),
        )
    ):
        name = f"m{turn}"
        assert cloned("pitc", "create", name, "-g", "bank", "--wait").code == 0
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "hold", dropping(name))
            result = cloned(*(name if argument == "m" else argument for argument in arguments))
        assert result.code == 0, result.err
        assert result.out in (b"", b"as it was")
        assert [hold.kind for hold in store.holds()] == [HoldKind.CLONE]
    kinds = [kind for _, (kind,) in seen]
    assert kinds == [HoldKind.VOLUME, HoldKind.VOLUME, *[HoldKind.EXPORT] * 4]


def test_a_rebuild_says_what_it_would_take_away(cloned, deployment, sites):
    """It refuses, unless told; the dry run shows it; afterwards there is no clone and no hold."""
    store = open_store(deployment, "osaka", "bank")
    lease = store.hold(store.copy("nightly"), HoldKind.VOLUME)
    plan = cloned("site", "rebuild", "osaka", "-g", "bank", "--dry-run")
    assert plan.code == 0 and "drill-1" in plan.text and "ends 1 export or open work volume" in plan.text
    planned = json.loads(cloned("site", "rebuild", "osaka", "-g", "bank", "--dry-run", "--json").text)["plan"]["store"]
    assert (planned["clones"], planned["leases"]) == (["drill-1"], 1)
    refused = cloned("site", "rebuild", "osaka", "-g", "bank", "--yes")
    assert refused.code == 2 and "drill-1" in refused.err and "--drop-clones" in refused.err
    assert read(cloned) == b"as it was\0\0\0"
    assert cloned("site", "rebuild", "osaka", "-g", "bank", "--yes", "--drop-clones").code == 0
    assert store.clones.all() == [] and sites.site("osaka").group("bank").copy("nightly")
    lease.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pitc", "clone", "none", "drill-2", *AT), "no copy none"),
        (("pitc", "clone", "nightly", "drill-1", *AT), "is there already"),
        (("pitc", "clone", "drill-1", "drill-2", *AT), "is a clone"),
        (("pitc", "clone", "nightly", "../x", *AT), "no name for a clone"),
        (("pitc", "clone", "nightly", "x" * 300, *AT), "no name for a clone"),
        (("pitc", "clone", "nightly", "drill-2", "-g", "bank", "--site", "paris"), "no site 'paris'"),
        (("clone", "show", "none", *AT), "there are: drill-1"),
        (("clone", "drop", "none", *AT), "there are: drill-1"),
        (("clone", "read", "drill-1", "none", *AT), "no volume 'none'"),
        (("clone", "read", "drill-1", "ledger", *AT, "--offset", "2MiB"), "which has 1048576 bytes"),
        (("clone", "write", "drill-1", "ledger", *AT, "--offset", "1048570"), "outside volume ledger"),
        (("clone", "write", "drill-1", "ledger", *AT, "-i", "/nowhere"), "there is no file"),
        (("clone", "show", "drill-1", "-g", "bank", "--site", "tokyo"), "there are: none"),
    ],
)
def test_what_is_refused(cloned, arguments, said):
    """One sentence, a hint where there is something to do, and exit code 2."""
    result = cloned(*arguments, stdin=b"too much")
    assert result.code == 2 and said in result.err and result.out == b""


def test_a_clone_that_is_written_to_while_it_is_exported(cloned, deployment, tmp_path, monkeypatch):
    """No file, and exit code 3."""
    from tidelog.gateways.cli import clone_content

    store = open_store(deployment, "osaka", "bank")
    clone = store.clones.find("drill-1")
    real = clone_content.write_sparse

    def meanwhile(*arguments):
        real(*arguments)
        store.clones.image(clone).write(clone.base.volumes[0], 0, b"x")

    monkeypatch.setattr(clone_content, "write_sparse", meanwhile)
    result = cloned("clone", "export", "drill-1", "ledger", str(tmp_path / "torn"), *AT)
    assert result.code == 3 and "written to while it was exported" in result.err
    assert list(tmp_path.glob("*torn*")) == []


def test_a_copy_with_a_clone_is_not_archived(cloned, tmp_path):
    """As it is not dropped: from whatever site; nothing is written, and once the clone is gone it goes."""
    place = tmp_path / "archive"
    place.mkdir()
    for site in SITES:
        refused = cloned("pitc", "archive", "nightly", "-g", "bank", "--to", str(place), "--site", site)
        assert refused.code == 2 and "clone drill-1 at osaka" in refused.err and "clone drop drill-1" in refused.err
    assert list(place.iterdir()) == []
    assert cloned("clone", "drop", "drill-1", *AT).code == 0
    assert cloned("pitc", "archive", "nightly", "-g", "bank", "--to", str(place)).code == 0
