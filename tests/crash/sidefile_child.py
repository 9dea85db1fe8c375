"""A writer with a sidefile that kills itself, by SIGKILL, at a marked point: run as a process by
test_sidefile_sigkill.py.

    python -m tests.crash.sidefile_child CONFIG GROUP POINT NTH FIRST

Points are those of child.py and these. It prints a line for each flush that returned: the number of the last write that
it covers, and where that is.
"""

import sys

from tests.crash import child
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.producers.outage import Outage
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.sidefile import Sidefile
from tidelog.producers.sidefile_drain import Drain

POINTS = {
    "create": (Outage, "__init__"),
    "append": (Sidefile, "append"),
    "sync": (Sidefile, "sync"),
    "plan": (Drain, "plan"),
    "drain": (ResumableSession, "drain"),
    "finish": (Outage, "finish"),
    "remove": (Sidefile, "remove"),
    "adopt": (ResumableSession, "adopt"),
}
SIZE = 4096


def main() -> None:
    path, group_name, point, nth, first = sys.argv[1:]
    child.POINTS.update(POINTS)
    child.kill_at(point, int(nth))
    number = int(first)
    with open_group(group_name, Config.load(path)) as group:
        volume = group.create_volume("data", SIZE * 64)
        while True:
            for _ in range(child.WRITES_PER_FLUSH):
                volume.write(number % 64 * SIZE, number.to_bytes(8, "big") * (SIZE // 8))
                number += 1
            print(number - 1, group.flush().name, flush=True)


if __name__ == "__main__":
    main()
