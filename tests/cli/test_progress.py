"""Bars on a terminal, for what takes long; nothing for what does not, nothing on a pipe."""

import io
import os
import re

import pytest
from rich.console import Console

from tidelog.gateways.cli import invocation as invocation_module

LARGE = 9 << 20


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal on stderr is shown."""
    shown = io.StringIO()
    real = invocation_module._console

    def console(*, stderr):
        return Console(file=shown, force_terminal=True, width=200) if stderr else real(stderr=False)

    monkeypatch.setattr(invocation_module, "_console", console)
    return shown


@pytest.fixture
def large(bank):
    assert bank("volume", "create", "large", "-g", "bank", "--size", "16MiB").code == 0
    assert bank("volume", "write", "large", "-g", "bank", stdin=b"x" * LARGE).code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    return bank


def test_reading_and_verifying(large, terminal):
    """Reads of more than 8 MiB, live and of a copy, and every verify."""
    for arguments, what in (
        (("volume", "read", "large", "-g", "bank"), "sending volume large"),
        (("pitc", "read", "one", "large", "-g", "bank"), "reading large of copy one"),
        (("pitc", "verify", "one", "-g", "bank", "--full"), "reading copy one at osaka"),
        (("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--full"), "reading copy one at osaka"),
    ):
        terminal.seek(0)
        terminal.truncate()
        assert large(*arguments).code == 0
        assert what in terminal.getvalue() and "100%" in terminal.getvalue() and "/s" in terminal.getvalue()


def test_taking_away_and_bringing_back(large, terminal, tmp_path, sites, deployment, subtests):
    """Exports, imports, archives and images: a bar, a rate and the time to go."""
    image, export = tmp_path / "image", tmp_path / "export"
    image.write_bytes(os.urandom(LARGE))
    assert large("volume", "import", str(image), "other", "-g", "bank", "--create").code == 0
    assert large("pitc", "create", "two", "-g", "bank", "--wait").code == 0
    sites.stop_site("london")
    deployment.keyspace("london", "bank").data.clear()
    for arguments, what in (
        (("volume", "import", str(image), "third", "-g", "bank", "--create"), "importing image"),
        (("volume", "export", "large", str(tmp_path / "live"), "-g", "bank"), "exporting large"),
        (("volume", "export", "other", str(tmp_path / "old"), "-g", "bank", "--pitc", "two"), "exporting other"),
        (("pitc", "export", "two", "-g", "bank", "--to", str(export)), "exporting two"),
        (("pitc", "export", "two", "-g", "bank", "--since", "one", "--to", str(tmp_path / "part")), "exporting two"),
        (("pitc", "export", "two", "-g", "bank", "--raw", "all", "--to", str(tmp_path / "raw")), "exporting two"),
        (("export", "verify", str(export)), "checking "),
        (("pitc", "import", str(export), "--site", "london"), "importing two"),
        (("pitc", "archive", "two", "-g", "bank", "--to", str(tmp_path)), "archiving two"),
    ):
        with subtests.test(" ".join(arguments[:2])):
            terminal.seek(0)
            terminal.truncate()
            done = large(*arguments)
            assert done.code == 0, terminal.getvalue()
            shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
            bars = [frame for frame in re.split(r"[\r\n]+", shown) if frame.startswith(what)]
            assert bars and "━" in bars[-1] and "%" in bars[-1], shown
            assert re.search(r"\d [kMG]?B/s", bars[-1]) and re.search(r"\d:\d\d:\d\d", bars[-1]), bars[-1]


def test_writing(large, terminal, tmp_path):
    """From a file the total is known, from stdin only the rate."""
    image = tmp_path / "image"
    image.write_bytes(b"y" * LARGE)
    assert large("volume", "write", "large", "-g", "bank", "--input", str(image)).code == 0
    assert "writing to large" in terminal.getvalue() and "100%" in terminal.getvalue()
    terminal.truncate(0)
    assert large("volume", "write", "large", "-g", "bank", stdin=b"z" * LARGE).code == 0
    assert "writing to large" in terminal.getvalue()


def test_little_shows_no_bar(large, terminal):
    assert large("volume", "write", "large", "-g", "bank", stdin=b"a").code == 0
    assert large("pitc", "read", "one", "large", "-g", "bank", "--length", "1MiB").code == 0
    assert "writing to large" not in terminal.getvalue() and "of copy one" not in terminal.getvalue()
