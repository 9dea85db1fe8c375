"""`tidelog site resync osaka --from tokyo` that kills itself, by SIGKILL, at a marked point: for test_resync_sigkill.

python -m tests.crash.resync_child CONFIG GROUP POINT NTH
"""

import sys

from tests.crash.child import POINTS, kill_at
from tidelog.gateways.cli import main
from tidelog.stores.mending import Mending

RESYNC_POINTS = ("bits", "unname", "blocks", "swap", "digests")

if __name__ == "__main__":
    path, group, point, nth = sys.argv[1:]
    POINTS.update((name, (Mending, name)) for name in RESYNC_POINTS)
    kill_at(point, int(nth))
    sys.exit(main(["-c", path, "site", "resync", "osaka", "--from", "tokyo", "--group", group]))
