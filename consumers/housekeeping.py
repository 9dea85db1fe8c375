"""What a replica does beside applying, in bounded steps."""

import time

from tidelog.stores.applier import Applier

# A late copy gets so long each time, since drops wait for it.
LATE_SLICE = 0.025


def maintain(applier: Applier) -> bool:
    """A step of housekeeping, or of a late copy as many as there is time for; whether there may be more to do."""
    until = time.monotonic() + LATE_SLICE
    while unfinished := applier.maintain():
        if applier.forming is None or time.monotonic() > until:
            break
    return unfinished
