"""Ctrl-C anywhere in a write, a flush or an event: no flush that returned is void, and the group opens again."""

import linecache
import sys
from types import FrameType
from typing import Any

import pytest

from tests.producers.conftest import Lab, events
from tidelog.errors import Fenced, TidelogError, UsageError
from tidelog.producers.group import Group

FILES = ("session.py", "batch.py", "overlay.py", "confirmation.py", "codec.py", "group.py", "volume.py", "clock.py")


class CtrlC:
    """KeyboardInterrupt at the nth line that this thread executes in producers' files; counts those lines.

    Lines that begin with ``with`` are left out: the tracer calls also when such a block is left, before the lock is
    released, and there CPython takes no signal.
    """

    def __init__(self, nth: int) -> None:
        self._nth = nth
        self.lines = 0

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        if event == "line" and not linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith(
            "with "
        ):
            self.lines += 1
            if self.lines == self._nth:
                raise KeyboardInterrupt
        return self._trace

    def __enter__(self) -> "CtrlC":
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


def program(group: Group, flushed: list[bytes]) -> None:
    """Writes that fill a batch and more, an event of another kind, and flushes; notes what a flush covered."""
    volume = group.volume("data")
    volume.write(0, b"first")
    volume.write(4096, bytes(300 * 1024))
    group.flush()
    flushed.append(b"first")
    volume.write(0, b"other")
    volume.discard(4096, 4096)
    group.mark("copy")
    flushed.append(b"other")


def interrupted_at(nth: int) -> int:
    """One run with Ctrl-C at line ``nth``; the number of lines that there were until then."""
    lab = Lab()
    group = lab.group()
    group.create_volume("data", "1MiB")
    flushed: list[bytes] = []
    with CtrlC(nth) as ctrl_c:
        try:
            program(group, flushed)
        except KeyboardInterrupt:
            pass
    # The application caught it, and goes on as if nothing had happened.
    try:
        group.volume("data").write(8, b"after")
        group.flush()
        flushed.append(b"after")
    except Fenced:
        raise
    except TidelogError:
        pass  # the session has ended: that is an answer, too
    group.abandon()

    reference = lab.reference()
    assert not reference.gap
    written = b"".join(event["data"] for event in events(lab.log) if "data" in event)
    for what in flushed:
        assert what in written, f"a flush returned, and {what!r} is not in the log (line {nth})"
    assert reference.counted[-1].seal == lab.log._records[-1].value[-16:], f"a record is void (line {nth})"
    again = lab.group()
    again.volume("data").write(0, b"again")
    again.flush()
    again.abandon()
    return ctrl_c.lines


@pytest.mark.timeout(240)
def test_ctrl_c_at_every_line() -> None:
    """Once at each line of a short program in producers/: the log stays whole, and what was flushed is in it."""
    last = interrupted_at(1 << 30)
    assert last > 100, "the program executes hardly any line: the test has no teeth"
    for nth in range(1, last + 1):
        interrupted_at(nth)


def test_an_ended_session_serves_no_reads(lab: Lab) -> None:
    """What a fenced writer did not get into the log is no part of the volume: reading raises what ended the session."""
    group = lab.group()
    volume = group.create_volume("data", "1MiB")
    volume.write(0, b"ghost")
    lab.group()
    with pytest.raises(Fenced):
        group.flush()
    with pytest.raises(Fenced):
        volume.read(0, 5)


def test_sites_to_wait_for_are_a_list(lab: Lab) -> None:
    """A name alone would be taken for a list of letters."""
    group = lab.group()
    with pytest.raises(UsageError, match=r"\['tokyo'\]"):
        group.mark("noon").wait("tokyo")
