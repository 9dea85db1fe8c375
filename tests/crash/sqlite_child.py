"""A process with SQLite on volumes that kills itself, by SIGKILL, in the middle of a transaction.

    python -m tests.crash.sqlite_child CONFIG GROUP MODE FRACTION

Two transactions return, and a line for each says its turn; the second one tells how many calls there are. The third
dies before the call at that fraction of them.
"""

import os
import signal
import sys

from tests.gateways.killing import dying
from tests.gateways.turns import Bank, found
from tidelog.config import Config
from tidelog.consumers.access import open_group


def main() -> None:
    path, name, mode, fraction = sys.argv[1:]
    config = Config.load(path)
    bank = Bank(lambda: open_group(name, config), mode)
    bank.create()
    _group, connection = bank.open()
    calls = 0
    for bank.turn in (1, 2):
        with dying(0, lambda: None) as death:
            bank.transact(connection)
        calls = len(death.made)
        print(bank.turn, flush=True)
    assert found(connection) == bank.turn
    bank.turn = 3
    with dying(max(1, round(calls * float(fraction))), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        bank.transact(connection)


if __name__ == "__main__":
    main()
