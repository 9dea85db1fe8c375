"""`tidelog pitc archive`: exported, verified, dropped; every command then reads from there, or says why not."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.errors import AlreadyExists, StoreUnavailable
from tidelog.gateways.exports import archiving
from tidelog.producers.archived import archives_of
from tidelog.stores.keys import Keys
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")
KIB = 1024


@pytest.fixture
def copied(bank):
    """Copies ``one`` and ``two`` at every site, with data."""
    for name in ("one", "two"):
        assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "5000", stdin=os.urandom(50_000)).code == 0
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    return bank


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "archive"
    place.mkdir()
    return place


def names(deployment, site: str) -> set[str]:
    store = open_store(deployment, site, "bank")
    found = {copy.name for copy in store.copies()}
    store.close()
    return found


def gone_everywhere(deployment, name: str) -> bool:
    return wait_until(lambda: all(name not in names(deployment, site) for site in SITES), timeout_s=20)


def archived(copied, deployment, folder: Path, name: str = "one") -> dict[str, str]:
    done = copied("pitc", "archive", name, "-g", "bank", "--to", str(folder), "--json")
    assert done.code == 0, done.err
    assert gone_everywhere(deployment, name)
    assert wait_until(lambda: "formed" not in answers(copied, name).values(), timeout_s=20)
    return json.loads(done.out)


def answers(cli, name: str) -> dict[str, str]:
    listed = json.loads(cli("pitc", "list", "-g", "bank", "--json").out)
    (found,) = [copy for copy in listed["copies"] if copy["name"] == name]
    return {site: said["answer"] for site, said in found["sites"].items()}


def test_dropped_everywhere_and_read_as_before(copied, deployment, folder):
    """By `pitc read`, `volume read --pitc`, `volume export --pitc` and `pitc export --raw`, from any site's name."""
    before = copied("pitc", "read", "one", "ledger", "-g", "bank").out
    document = archived(copied, deployment, folder)
    assert document["site"] == "tokyo" and document["place"].startswith(str(folder))
    for arguments in (
        ("pitc", "read", "one", "ledger", "-g", "bank"),
        ("pitc", "read", f"#{document['sequence']}", "ledger", "-g", "bank", "--site", "osaka"),
        ("volume", "read", "ledger", "-g", "bank", "--pitc", "one"),
    ):
        done = copied(*arguments)
        assert (done.code, done.out) == (0, before) and "archive" in done.err
    part = copied("pitc", "read", "one", "ledger", "-g", "bank", "--offset", "5000", "--length", "1000")
    assert part.out == before[5000:6000]
    assert copied("volume", "export", "ledger", str(folder / "image"), "-g", "bank", "--pitc", "one").code == 0
    assert copied("pitc", "export", "one", "-g", "bank", "--raw", f"ledger={folder / 'raw'}").code == 0
    assert (folder / "image").read_bytes() == (folder / "raw").read_bytes() == before
    assert copied("pitc", "read", "one", "never", "-g", "bank").code == 2


def test_where_it_is_shown(copied, deployment, folder):
    """In `list` by site, in `show` with the place and the volumes, in both as JSON."""
    document = archived(copied, deployment, folder)
    assert answers(copied, "one") == {"tokyo": "archived", "osaka": "dropped", "london": "dropped"}
    listed = copied("pitc", "list", "-g", "bank")
    assert listed.code == 0 and "archived" in listed.text and "dropped" in listed.text
    shown = copied("pitc", "show", "one", "-g", "bank")
    assert shown.code == 0 and document["place"] in shown.text and "ledger" in shown.text
    as_json = json.loads(copied("pitc", "show", "one", "-g", "bank", "--json").out)
    assert as_json["sites"]["tokyo"]["archive"] == document["place"] and as_json["sites"]["osaka"]["archive"] is None
    assert as_json["equal"] is True and [volume["name"] for volume in as_json["volumes"]] == ["ledger"]


def test_verify_reads_the_archive(copied, deployment, folder):
    """By its manifest, and in full by every block; a damaged or missing one is loud, and other sites are not asked."""
    document = archived(copied, deployment, folder)
    for more in ((), ("--full",)):
        done = copied("pitc", "verify", "one", "-g", "bank", *more)
        assert done.code == 0 and "tokyo" in done.text and "osaka" not in done.text, done.err
    assert copied("export", "verify", document["place"]).code == 0
    file = Path(document["place"]) / "ledger.0000.avro"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    bad = copied("pitc", "verify", "one", "-g", "bank", "--full")
    assert bad.code == 3 and "ledger.0000.avro" in bad.text
    assert copied("pitc", "read", "one", "ledger", "-g", "bank").code == 3
    shutil.rmtree(document["place"])
    for command in (("verify", "one"), ("read", "one", "ledger")):
        assert copied("pitc", *command, "-g", "bank").code == 3
    shown = copied("pitc", "show", "one", "-g", "bank")
    assert shown.code == 0 and "is not at" in shown.err


def test_what_an_archived_copy_cannot_do(copied, deployment, folder, tmp_path):
    """A hint says what can be done in its place."""
    document = archived(copied, deployment, folder)
    for command in (
        ("pitc", "export", "one", "-g", "bank", "--to", str(tmp_path / "again")),
        ("pitc", "export", "two", "-g", "bank", "--to", str(tmp_path / "again"), "--since", "one"),
        ("pitc", "diff", "one", "two", "-g", "bank"),
    ):
        refused = copied(*command)
        assert refused.code == 2 and document["place"] in refused.err


def test_an_archive_is_an_export(copied, deployment, sites, folder):
    """An emptied site begins from it."""
    document = archived(copied, deployment, folder, "two")
    sites.stop_site("london")
    store = open_store(deployment, "london", "bank")
    for _ in store.erase():
        pass
    assert copied("pitc", "import", document["place"], "--site", "london").code == 0
    assert store.verify(store.copy("two")).hex() == document["digest"]


def test_killed_before_the_drop_it_is_run_again(copied, deployment, folder, monkeypatch):
    """The export is there and told, the copy still in every store; the second time it goes, and nothing is written."""
    from tidelog.gateways.cli import copy_archive

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copy_archive, "writing", killed)
        assert copied("pitc", "archive", "one", "-g", "bank", "--to", str(folder)).code == 130
    assert all("one" in names(deployment, site) for site in SITES)
    listed = answers(copied, "one")
    assert set(listed.values()) == {"formed"} and len(list(folder.iterdir())) == 1
    assert json.loads(copied("pitc", "show", "one", "-g", "bank", "--json").out)["sites"]["tokyo"]["archive"]
    archived(copied, deployment, folder)
    assert len(list(folder.iterdir())) == 1
    again = copied("pitc", "archive", "one", "-g", "bank", "--to", str(folder))
    assert again.code == 0 and "already" in again.err


def test_an_export_that_does_not_verify_drops_nothing(copied, deployment, folder, monkeypatch):
    """At no site; and no archive is told of."""

    def torn(*arguments: object) -> None:
        url = str(arguments[2])
        Path(url).mkdir()
        (Path(url) / "manifest.json").write_text("{}")

    monkeypatch.setattr(archiving, "write_export", torn)
    failed = copied("pitc", "archive", "one", "-g", "bank", "--to", str(folder))
    assert failed.code == 3
    assert archives_of(deployment.cluster.control.snapshot(), "bank") == []
    assert all("one" in names(deployment, site) for site in SITES)


def test_what_is_refused_before_anything_is_written(copied, deployment, folder, monkeypatch):
    """No place, a place that is not there, an unknown copy or site, a lock, a writer that is alive, a site that is
    down."""
    archive = ("pitc", "archive", "one", "-g", "bank")
    nowhere = copied(*archive)
    assert nowhere.code == 2 and "archive = " in nowhere.err
    assert copied(*archive, "--to", str(folder / "nothing")).code == 2
    assert copied("pitc", "archive", "never", "-g", "bank", "--to", str(folder)).code == 2
    assert copied(*archive, "--to", str(folder), "--site", "paris").code == 2
    with open_group("bank", deployment=deployment):
        alive = copied(*archive, "--to", str(folder))
        assert alive.code == 13 and "--take-over" in alive.err
    assert copied("pitc", "lock", "one", "-g", "bank", "--for", "30d").code == 0
    assert wait_until(lambda: open_store(deployment, "tokyo", "bank").copy("one").locked_until_us, timeout_s=20)
    locked = copied(*archive, "--to", str(folder))
    assert locked.code == 2 and "locked until" in locked.err

    def down(site: str, _: str):
        raise StoreUnavailable(f"Redis of {site} does not answer")

    monkeypatch.setattr(deployment, "keyspace", down)
    assert copied(*archive, "--to", str(folder)).code == 12
    assert list(folder.iterdir()) == []


def test_a_copy_by_time_goes_at_that_site_only(bank, deployment, folder, config_file):
    """To the site's own configured place, with no writer asked or fenced; the others keep theirs."""
    config_file.write_text(config_file.read_text() + f'[sites.osaka]\narchive = "{folder}"\n')
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"by time" * 1000)
        assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
        before = bank("pitc", "read", "noon", "ledger", "-g", "bank").out
        done = bank("pitc", "archive", "noon", "-g", "bank", "--site", "osaka")
        assert done.code == 0 and "at osaka" in done.err, done.err
        assert wait_until(lambda: "noon" not in names(deployment, "osaka"), timeout_s=20)
        assert group.session.ready
    assert {order.name for order in open_store(deployment, "osaka", "bank").forgotten_orders()} == {"noon"}
    assert "noon" in names(deployment, "tokyo")
    assert wait_until(lambda: answers(bank, "noon")["osaka"] == "archived", timeout_s=20)
    assert answers(bank, "noon") == {"tokyo": "formed", "osaka": "archived", "london": "formed"}
    (order,) = json.loads(bank("pitc", "orders", "--json").text)["orders"]
    assert order["complete"] and order["sites"]["osaka"]["groups"] == {"bank": "archived"}
    away = bank("pitc", "read", "noon", "ledger", "-g", "bank", "--site", "osaka")
    assert away.out == before and str(folder) in away.err
    assert bank("pitc", "verify", "noon", "-g", "bank", "--full").code == 0


def test_a_copy_of_which_a_site_has_other_bytes_stays(bank, deployment, folder):
    """Archived where it is wrong, the good ones would be dropped everywhere; the alarm stays, too."""
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"good" * 3000).code == 0
    stores = {site: open_store(deployment, site, "bank") for site in SITES}
    for store in stores.values():
        assert wait_until(lambda store=store: store.read(store.volume("ledger"), 0, 4) == b"good", timeout_s=10)
    block = Keys("bank").block_format(stores["osaka"].volume("ledger").id) % 1
    deployment.keyspace("osaka", "bank").transact([(b"SET", block, b"BAD!" * 1024)])
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 3
    for site in ("osaka", "tokyo"):
        refused = bank("pitc", "archive", "one", "-g", "bank", "--to", str(folder), "--site", site)
        assert refused.code == 3 and "stays" in refused.err and "osaka" in refused.err
    assert list(folder.iterdir()) == [] and all(names(deployment, site) == {"one"} for site in SITES)
    assert bank("pitc", "list", "-g", "bank").code == 3
    assert bank("pitc", "read", "one", "ledger", "-g", "bank", "--offset", "4096", "--length", "4").out == b"good"


def test_the_name_of_an_archived_copy_is_in_use(copied, deployment, folder):
    """For markers, here and in the library, and for copies by time."""
    archived(copied, deployment, folder)
    refused = copied("pitc", "create", "one", "-g", "bank")
    assert refused.code == 2 and "archived at" in refused.err and "another name" in refused.err
    with open_group("bank", deployment=deployment) as group, pytest.raises(AlreadyExists, match="archived"):
        group.mark("one")
    by_time = copied("pitc", "create", "one", "-g", "bank", "--in", "1s")
    assert by_time.code == 2 and "archived at" in by_time.err


def test_retention_waits_for_the_archive(copied, deployment, folder, config_file):
    """Explained, and kept to: what is not archived stays, what is goes."""
    policy = f'[groups.bank]\nevery = "1h"\nkeep = {{last = 1, named = true}}\narchive = "{folder}"\n'
    config_file.write_text(config_file.read_text() + policy)
    explained = copied("pitc", "retention", "-g", "bank", "--dry-run")
    assert explained.code == 0 and "is dropped when it is archived" in explained.text and "0 of 2" in explained.err
    done = copied("pitc", "retention", "-g", "bank")
    assert done.code == 0 and "0 of 2" in done.err
    assert all(names(deployment, site) == {"one", "two"} for site in SITES)
    store = open_store(deployment, "tokyo", "bank")
    archiving.archive_copy(store, store.copy("one"), str(folder), deployment.cluster.control, lambda _: None, SITES)
    done = copied("pitc", "retention", "-g", "bank")
    assert done.code == 0 and "1 of 2" in done.err
    assert gone_everywhere(deployment, "one")
    assert copied("pitc", "archive", "two", "-g", "bank").code == 0  # to the configured place
    assert len(list(folder.iterdir())) == 2


def test_a_sites_retention_archives_first(bank, deployment, folder, config_file):
    """By hand, as its worker does."""
    config_file.write_text(config_file.read_text() + f'[sites.osaka]\nkeep = {{last = 1}}\narchive = "{folder}"\n')
    with open_group("bank", deployment=deployment):
        for name in ("noon", "later"):
            assert bank("pitc", "create", name, "-g", "bank", "--in", "500ms", "--wait").code == 0
        explained = bank("pitc", "retention", "-g", "bank", "--site", "osaka", "--dry-run")
        assert explained.code == 0 and "1 of 2" in explained.err and list(folder.iterdir()) == []
        assert bank("pitc", "retention", "-g", "bank", "--site", "osaka").code == 0
        assert wait_until(lambda: names(deployment, "osaka") == {"later"}, timeout_s=20)
    (record,) = archives_of(deployment.cluster.control.snapshot(), "bank")
    assert (record.site, record.name) == ("osaka", "noon") and bank("export", "verify", record.place).code == 0
