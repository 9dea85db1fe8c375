"""When a copy's lock ends: by the log's time, and never while the clocks at hand say that it still runs.

Everyone folds a lock by the log's own timestamps, so it is the same at every site. But those come from a writer's
clock, and a writer whose clock was set forward would end every lock. So whoever is about to drop a copy whose lock has
ended by the log asks another clock as well: a writer those of the sites, a site its own.
"""

from tidelog.clock import iso
from tidelog.errors import Locked

# As far as two machines' clocks may be apart without anything being wrong (``writer.max_clock_skew`` by default).
CLOCK_SKEW_US = 60_000_000


def locked_error(name: str, until_us: int, group: str) -> Locked:
    """The refusal to drop a locked copy."""
    return Locked(
        f"copy {name} is locked until {iso(until_us)}",
        hint="nothing drops it before, by the log's time and by the sites' clocks; a lock can only be extended",
        group=group,
    )
