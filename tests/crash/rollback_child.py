"""`tidelog site rollback osaka` that kills itself, by SIGKILL, at a marked point: for test_rollback_sigkill.

python -m tests.crash.rollback_child CONFIG GROUP POINT NTH
"""

import sys

from tests.crash.child import POINTS, kill_at
from tidelog.gateways.cli import main
from tidelog.stores.image import Store
from tidelog.stores.rollback import Rollback

if __name__ == "__main__":
    path, group, point, nth = sys.argv[1:]
    POINTS.update({"send": (Rollback, "_send"), "finish": (Rollback, "_finish"), "end": (Store, "end_rebuild")})
    kill_at(point, int(nth))
    sys.exit(main(["-c", path, "site", "rollback", "osaka", "--group", group, "--yes"]))
