"""`tidelog site rebuild osaka --from SOURCE` that kills itself, by SIGKILL, at a marked point: test_rebuild_sigkill.

python -m tests.crash.rebuild_child CONFIG GROUP POINT NTH SOURCE
"""

import sys

from tests.crash.child import POINTS, kill_at
from tidelog.gateways.cli import main
from tidelog.recovery.base_load import BaseLoading
from tidelog.recovery.rebuild import Rebuild
from tidelog.stores.base import BaseLoad
from tidelog.stores.image import Store

REBUILD_POINTS: dict[str, tuple[type, str]] = {
    "mark": (Store, "begin_erase"),
    "check": (BaseLoading, "check_log"),
    "take": (BaseLoad, "begin"),
    "watch": (BaseLoad, "_watch"),
    "put": (BaseLoad, "put"),
    "sent": (BaseLoad, "_send"),
    "landed": (BaseLoad, "_settle"),
    "prove": (BaseLoad, "_loaded"),
    "finish": (BaseLoad, "finish"),
    "begun": (Store, "begin_rebuild"),
    "replay": (Rebuild, "_start_replica"),
}

if __name__ == "__main__":
    path, group, point, nth, source = sys.argv[1:]
    POINTS.update(REBUILD_POINTS)
    kill_at(point, int(nth))
    sys.exit(main(["-c", path, "site", "rebuild", "osaka", "--from", source, "--group", group, "--yes"]))
