"""`--take-over` of a command that is then refused: nobody is fenced for it; where that cannot be, it is said."""

import pytest

from tidelog.errors import Fenced

FAR = "2999-01-01T00:00:00Z"


@pytest.fixture
def written(bank):
    """Copies ``one`` and ``locked`` of ``ledger``, and ``small`` beside it."""
    assert bank("volume", "create", "small", "-g", "bank", "--size", "64KiB").code == 0
    assert bank("volume", "create", "coarse", "-g", "bank", "--size", "2MiB", "--block-size", "8192").code == 0
    for name in ("one", "locked"):
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    assert bank("pitc", "lock", "locked", "-g", "bank", "--for", "30d").code == 0
    return bank


REFUSED = (
    (("volume", "create", "ledger", "--size", "2MiB"), "exists with"),
    (("volume", "create", "v", "--size", "0"), "size 0"),
    (("volume", "create", "v", "--size", "1MiB", "--block-size", "1000"), "power of two"),
    (("volume", "resize", "ledger", "--size", "4KiB"), "cut off"),
    (("volume", "resize", "ledger", "--size", "0", "--shrink"), "size 0"),
    (("volume", "resize", "nothere", "--size", "4KiB"), "no volume"),
    (("volume", "write", "nothere"), "no volume"),
    (("volume", "write", "ledger", "--offset", "1MiB"), "1048576"),
    (("volume", "write", "ledger", "--offset", "-1"), "-1"),
    (("volume", "write", "small", "--input", "IMAGE"), "has 65536 bytes"),
    (("volume", "import", "IMAGE", "small"), "has 65536"),
    (("volume", "import", "IMAGE", "nothere"), "no volume"),
    (("volume", "copy", "ledger", "small"), "do not fit"),
    (("volume", "copy", "ledger", "coarse"), "blocks of"),
    (("volume", "copy", "ledger", "ledger"), "onto itself"),
    (("volume", "restore", "ledger", "--pitc", "never"), "no copy"),
    (("volume", "restore", "nothere", "--pitc", "one"), "no volume"),
    (("pitc", "create", "one"), "exists"),
    (("pitc", "create", "auto-20261125t180000z"), "schedule"),
    (("pitc", "drop", "never"), "no copy"),
    (("pitc", "drop", "locked"), "locked until"),
    (("pitc", "lock", "never", "--for", "1d"), "no copy"),
    (("pitc", "lock", "locked", "--for", "1d"), "locked until"),
    (("pitc", "lock", "one", "--until", "2020-01-01T00:00:00Z"), "would have ended"),
    (("pitc", "lock", "one", "--until", FAR), "hundred years"),
    (("pitc", "keep", "never"), "no copy"),
)


def test_a_refused_command_has_fenced_nobody(written, sites, tmp_path, subtests):
    """Exit code 2 means what it says: the application writes on, and the log is what it was."""
    image = tmp_path / "image"
    image.write_bytes(b"x" * 70_000)
    with sites.group("bank") as application:
        ledger = application.volume("ledger")
        for arguments, says in REFUSED:
            line = [str(image) if argument == "IMAGE" else argument for argument in arguments]
            with subtests.test(" ".join(arguments)):
                refused = written(*line, "-g", "bank", "--take-over", stdin=b"x")
                assert refused.code == 2 and says in refused.err and "fenced" not in refused.err
                ledger.write(0, b"the application writes on")
                application.flush()
        assert application.session.confirmed.epoch == application.session.epoch


def test_an_archive_that_the_log_refuses_has_fenced_nobody(written, sites, tmp_path):
    """At a site that has not heard of the lock yet: nothing is exported either."""
    sites.stop_site("london")
    assert written("pitc", "lock", "one", "-g", "bank", "--for", "30d").code == 0
    with sites.group("bank") as application:
        archive = ("pitc", "archive", "one", "-g", "bank", "--site", "london", "--to", str(tmp_path))
        before = set(tmp_path.iterdir())
        refused = written(*archive, "--take-over")
        assert refused.code == 2 and "locked until" in refused.err and "fenced" not in refused.err
        assert set(tmp_path.iterdir()) == before
        application.volume("ledger").write(0, b"the application writes on")
        application.flush()
        assert application.session.confirmed.epoch == application.session.epoch


def test_what_only_the_session_finds_out_is_told(written, sites):
    """A stream that turns out to be too long: the writer is fenced, and the command says so."""
    application = sites.group("bank")
    refused = written("volume", "write", "ledger", "-g", "bank", "--take-over", stdin=b"x" * ((1 << 20) + 1))
    assert refused.code == 3 and "--take-over has fenced the writer that was there" in refused.err
    assert f"{1 << 20} bytes of it were written at offset 0" in refused.err
    with pytest.raises(Fenced):
        application.mark("void")


def test_a_command_that_is_good_takes_over(written, sites):
    """The check is no more than a check."""
    application = sites.group("bank")
    assert written("pitc", "create", "taken", "-g", "bank", "--take-over").code == 0
    with pytest.raises(Fenced):
        application.mark("void")


def test_resizing(written):
    """Grown, and shrunk only when told so; a copy keeps its size."""
    assert written("volume", "resize", "small", "-g", "bank", "--size", "128KiB").code == 0
    assert written("volume", "write", "small", "-g", "bank", "--offset", "100KiB", stdin=b"end").code == 0
    kept = written("volume", "resize", "small", "-g", "bank", "--size", "64KiB")
    assert kept.code == 2 and "--shrink" in kept.err
    shrunk = written("volume", "resize", "small", "-g", "bank", "--size", "64KiB", "--shrink", "--json")
    assert b'"size_before": 131072' in shrunk.out and b'"size": 65536' in shrunk.out
    assert written("pitc", "create", "after", "-g", "bank", "--wait").code == 0
    assert len(written("pitc", "read", "after", "small", "-g", "bank").out) == 65536
    assert len(written("pitc", "read", "one", "small", "-g", "bank").out) == 65536
