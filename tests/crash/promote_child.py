"""`tidelog site promote SITE` that kills itself, by SIGKILL, at a marked point: for test_promote_sigkill.

python -m tests.crash.promote_child CONFIG GROUP SITE POINT NTH
"""

import sys

from tests.crash.child import POINTS, kill_at
from tidelog.gateways.cli import main
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promotion_claim import Claim

PROMOTE_POINTS = {
    "ask": (Promotion, "_ask"),
    "end": (Promotion, "_await_end"),
    "applied": (Promotion, "_await_applied"),
    "open": (Promotion, "_open"),
    "record": (Promotion, "_record"),
    "close": (Promotion, "_close"),
    "withdraw": (Claim, "withdraw"),
}

if __name__ == "__main__":
    path, group, site, point, nth, *more = sys.argv[1:]
    POINTS.update(PROMOTE_POINTS)
    kill_at(point, int(nth))
    sys.exit(main(["-c", path, "site", "promote", site, "--group", group, *more]))
