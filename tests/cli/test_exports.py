"""`tidelog pitc export`, `pitc import` and `export verify`: what an operator types and sees."""

import json
import os
import uuid
from pathlib import Path

import pytest

from tidelog.consumers.deployment import open_store
from tidelog.gateways.exports import writing

SITES = ("tokyo", "osaka")


@pytest.fixture
def copied(cli, sites):
    """Group ``bank`` at tokyo and osaka with copies ``one`` and ``two``; london has never run."""
    assert cli("group", "create", "bank").code == 0
    for site in SITES:
        sites.wait_for_store(site, "bank")
    assert cli("volume", "create", "ledger", "-g", "bank", "--size", "1MiB").code == 0
    for name in ("one", "two"):
        assert cli("volume", "write", "ledger", "-g", "bank", "--offset", "5000", stdin=os.urandom(20000)).code == 0
        assert cli("pitc", "create", name, "-g", "bank", "--sites", "tokyo,osaka").code == 0
    return cli


def test_a_site_from_an_export(copied, sites, tmp_path: Path):
    whole, part = str(tmp_path / "whole"), f"memory://{uuid.uuid4().hex}"
    done = copied("pitc", "export", "one", "-g", "bank", "--site", "osaka", "--to", whole)
    assert done.code == 0 and "1 file" in done.err and "verified" in done.err
    made = json.loads(copied("pitc", "export", "two", "-g", "bank", "--to", part, "--since", "one", "--json").out)
    assert made["manifest"]["since"]["name"] == "one" and made["manifest"]["pitc"]["name"] == "two"
    for place in (whole, part):
        checked = copied("export", "verify", place)
        assert checked.code == 0 and checked.text.count("good") == 2 and "ledger.0000.avro" in checked.text
    assert json.loads(copied("export", "verify", whole, "--json").out)["good"] is True

    brought = copied("pitc", "import", whole, part, "--site", "london", "--group", "bank")
    assert brought.code == 0 and "tidelog site run london" in brought.err
    assert copied("pitc", "read", "two", "ledger", "-g", "bank", "-s", "london").out == (
        copied("pitc", "read", "two", "ledger", "-g", "bank", "-s", "tokyo").out
    )
    again = copied("pitc", "import", whole, part, "--site", "london")
    assert again.code == 2 and "not empty" in again.err
    sites.site("london")
    assert copied("pitc", "create", "three", "-g", "bank", "--wait").code == 0
    assert copied("pitc", "verify", "three", "-g", "bank", "--full").code == 0


def test_an_import_in_json(copied, tmp_path: Path):
    assert copied("pitc", "export", "two", "-g", "bank", "--to", str(tmp_path / "x")).code == 0
    document = json.loads(copied("pitc", "import", str(tmp_path / "x"), "-s", "london", "--json").out)
    listed = json.loads(copied("pitc", "list", "-g", "bank", "--json").out)["copies"][-1]
    assert (document["version"], document["name"], document["sequence"]) == (1, "two", listed["sequence"])
    assert document["digest"] == listed["sites"]["tokyo"]["digest"] and document["seal"] == listed["seal"]


def test_damage_is_told_by_file_and_code(copied, deployment, tmp_path: Path):
    place = tmp_path / "export"
    assert copied("pitc", "export", "two", "-g", "bank", "--to", str(place)).code == 0
    content = bytearray((place / "ledger.0000.avro").read_bytes())
    content[5000] ^= 1
    (place / "ledger.0000.avro").write_bytes(content)
    checked = copied("export", "verify", str(place))
    assert checked.code == 3 and "changed" in checked.text and "ledger.0000.avro" in checked.err
    document = json.loads(copied("export", "verify", str(place), "--json").out)
    assert document["good"] is False and "changed" in document["files"][0]["problem"]
    refused = copied("pitc", "import", str(place), "--site", "london")
    assert refused.code == 3 and "ledger.0000.avro" in refused.err
    (place / "manifest.json").write_text("{}")
    assert copied("export", "verify", str(place)).code == 3
    with pytest.raises(LookupError):
        open_store(deployment, "london", "bank")


def test_single_volumes_as_raw_images(copied, tmp_path: Path):
    image = tmp_path / "ledger.img"
    done = copied("pitc", "export", "one", "-g", "bank", "--raw", f"ledger={image}", "--json")
    assert done.code == 0 and json.loads(done.out)["images"][0]["size"] == 1 << 20
    assert image.read_bytes() == copied("pitc", "read", "one", "ledger", "-g", "bank").out
    assert image.stat().st_blocks * 512 < image.stat().st_size
    assert copied("pitc", "export", "one", "-g", "bank", "--raw", f"ledger={image}").code == 2


def test_a_raw_image_that_is_not_what_the_site_says_is_not_kept(copied, deployment, tmp_path: Path):
    store = open_store(deployment, "osaka", "bank")
    store._keyspace.transact([(b"SET", store._keys.block_format(2) % 2, b"\x55" * 4096)])
    image = tmp_path / "ledger.img"
    refused = copied("pitc", "export", "two", "-g", "bank", "-s", "osaka", "--raw", f"ledger={image}")
    assert refused.code == 3 and "digest" in refused.err
    assert not image.exists() and not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_an_interrupted_export_leaves_nothing(copied, tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "file_sum", interrupted)
    before = set(tmp_path.iterdir())
    result = copied("pitc", "export", "one", "-g", "bank", "--to", str(tmp_path / "export"))
    assert (result.code, result.err.strip()) == (130, "interrupted")
    assert set(tmp_path.iterdir()) == before


def test_what_cannot_be_is_one_sentence(copied, tmp_path: Path, subtests):
    good = str(tmp_path / "good")
    assert copied("pitc", "export", "one", "-g", "bank", "--to", good).code == 0
    to = ("--to", str(tmp_path / "new"))
    for arguments, code, says in (
        (("pitc", "export", "one", "-g", "bank"), 2, "--to is missing"),
        (("pitc", "export", "one", "-g", "bank", "--to", good), 2, "exists"),
        (("pitc", "export", "one", "-g", "bank", "--to", str(tmp_path / "no" / "x")), 2, "there is no folder"),
        (("pitc", "export", "one", "-g", "bank", "--to", "nosuch://x/y"), 2, "nosuch"),
        (("pitc", "export", "../x", "-g", "bank", *to), 2, "../x"),
        (("pitc", "export", "one", "-g", "../x", *to), 2, "../x"),
        (("pitc", "export", "one", "-g", "bank", "--since", "two", *to), 2, "not older"),
        (("pitc", "export", "one", "-g", "bank", "--since", "never", *to), 2, "never"),
        (("pitc", "export", "two", "-g", "bank", "--since", "one", "--raw", "all", *to), 2, "whole volume"),
        (("pitc", "export", "one", "-g", "bank", "--raw", "ledger=x", *to), 2, "where to already"),
        (("pitc", "export", "one", "-g", "bank", "--raw", "ledger"), 2, "VOLUME=FILE"),
        (("pitc", "export", "one", "-g", "bank", "--raw", f"../x={tmp_path}/x"), 2, "../x"),
        (("pitc", "import", good, "--site", "paris"), 2, "paris"),
        (("pitc", "import", good, "--site", "london", "-g", "orders"), 2, "not orders"),
        (("pitc", "import", good, good, "--site", "london"), 2, "does not go on"),
        (("pitc", "import", good, "--site", "osaka"), 2, "not empty"),
        (("pitc", "import", str(tmp_path), "--site", "london"), 2, "no export"),
        (("export", "verify", str(tmp_path / "nothing")), 2, "no export"),
    ):
        with subtests.test(" ".join(arguments)):
            result = copied(*arguments)
            errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
            assert result.code == code and len(errors) == 1 and says in errors[0]
            assert result.out == b"" and not (tmp_path / "new").exists()
