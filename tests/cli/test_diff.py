"""`tidelog pitc diff`: from the elder to the newer, at any site."""

import json


def test_changed_extents_by_volume(bank):
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"a" * 8192).code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "4096", stdin=b"a" * 4096 + b"b").code == 0
    assert bank("volume", "create", "audit", "-g", "bank", "--size", "64KiB").code == 0
    assert bank("pitc", "create", "two", "-g", "bank", "--wait").code == 0
    documents = [
        json.loads(bank("pitc", "diff", *order, "-g", "bank", "--site", site, "--json").out)
        for order in (("one", "two"), ("two", "one"))
        for site in ("osaka", "london")
    ]
    for document in documents:
        assert document["from"]["name"] == "one" and document["volumes"] == documents[0]["volumes"]
    ledger, audit = documents[0]["volumes"]
    assert (ledger["change"], ledger["blocks"], ledger["bytes"]) == ("changed", 2, 8192)
    assert ledger["extents"] == [{"offset": 4096, "length": 8192}]
    assert (audit["change"], audit["size_before"], audit["size_after"]) == ("created", None, 65536)
    exact = json.loads(bank("pitc", "diff", "one", "two", "-g", "bank", "--exact", "--json").out)
    assert exact["volumes"][0]["extents"] == [{"offset": 8192, "length": 4096}]
    shown = bank("pitc", "diff", "one", "two", "-g", "bank")
    assert shown.code == 0 and "ledger" in shown.text and "8 KiB" in shown.text and "created" in shown.text


def test_it_needs_no_block(bank, deployment):
    """The same is said at a site whose blocks are all gone: it comes from the change bitmaps."""
    for name in ("one", "two"):
        assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "8192", stdin=name.encode() * 4096).code == 0
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    command = ("pitc", "diff", "one", "two", "-g", "bank", "--site", "osaka", "--json")
    before = json.loads(bank(*command).out)
    assert before["volumes"][0]["bytes"] == 12288
    data = deployment.keyspace("osaka", "bank").data
    blocks = [key for key in data if b"}:b:" in key or b"}:g:" in key]
    assert len(blocks) == 6
    for key in blocks:
        del data[key]
    assert json.loads(bank(*command).out) == before
    assert json.loads(bank(*command, "--exact").out)["volumes"] == []


def test_two_copies_with_nothing_between(bank, sites):
    for name in ("one", "two"):
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    same = bank("pitc", "diff", "one", "two", "-g", "bank")
    assert same.code == 0 and "no volume changed" in same.err
    group = sites.site("osaka").group("bank")
    assert group.copy("two").diff(group.copy("one")) == []
    for names, says in ((("one", "one"), "not older"), (("one", "never"), "never"), (("../x", "one"), "../x")):
        refused = bank("pitc", "diff", *names, "-g", "bank")
        assert refused.code == 2 and says in refused.err
