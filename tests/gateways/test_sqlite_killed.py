"""SQLite's crash tests, on tidelog: killed before every call that writes, cuts off, deletes or confirms, in every
journal mode, the database is opened at the other site, and then goes on in the hands of another writer."""

import itertools

import pytest

from tests.gateways.turns import MODES, SENT, UNSENT, Bank
from tidelog.gateways import sqlite_file
from tidelog.testing.running import RunningDeployment


@pytest.mark.parametrize("leaving", [SENT, UNSENT])
@pytest.mark.parametrize("mode", MODES)
def test_killed_before_every_call(
    mode: str, leaving: str, tidelog_memory_deployment: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole at the other site: what was committed is there, of what was not there is nothing; and it goes on."""
    monkeypatch.setattr(sqlite_file, "APPEND_BUFFER_BYTES", 6000)  # a WAL is handed over in pieces, too
    running = tidelog_memory_deployment
    osaka = running.site("osaka")
    running.site("tokyo")
    bank = Bank(lambda: running.group("bank"), mode)
    bank.create()
    outcomes: list[bool] = []
    calls: list[str] = []
    mended = 0
    for nth in itertools.count(1):
        made = bank.killed_at(nth, leaving)
        turn, hot = bank.at_the_other_site(osaka, f"killed-{nth}")
        if made is None:
            assert turn == bank.turn, "a commit that returned is there"
            break
        assert turn in (bank.turn - 1, bank.turn), f"killed after {made}"
        outcomes.append(turn == bank.turn)
        calls, mended = made, mended + hot
        bank.turn = turn
    # A journal that is cut off has its first flush at its end: of what is not confirmed there may be nothing.
    may_be_nothing = leaving == UNSENT and mode in ("delete", "truncate")
    assert len(outcomes) >= 8 and (mended or may_be_nothing), f"too few deaths to say anything: before each of {calls}"
    # Committed, and dead before it could be said: between the journal's end and its confirmation, or in a checkpoint.
    told_late = mode == "wal-checkpointing" or (leaving == SENT and mode in ("truncate", "persist"))
    assert not outcomes[0] and any(outcomes) == told_late
