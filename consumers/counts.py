"""What a worker has done for one group since it has had it. Pure counting: nothing here is read back by tidelog.

Counted a run of events at a time, by the thread that applies: some microseconds beside the milliseconds of a run.
"""

from bisect import bisect_left
from collections.abc import Iterable

from tidelog.errors import Halted
from tidelog.schemas.events import EVENT_TYPES, Event, Heartbeat, WriteBatch

# Upper bounds, in seconds, of how long a run of events took; the last bucket is for all that is longer.
RUN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OTHER = "other"
HALT_KINDS = (*sorted(kind.__name__ for kind in Halted.__subclasses__()), OTHER)


class Counts:
    """Of one group at one site. ``events`` counts as sequences do: a batch is as many as it has writes; ``records`` are
    those of the log. Outlives replicas: a group that is rebuilt is counted on; one that another worker has had is not.
    """

    def __init__(self) -> None:
        self.events = dict.fromkeys(EVENT_TYPES, 0)  # by kind
        self.records = 0
        self.bytes = 0  # of data, in writes
        self.transactions = 0
        self.runs = [0] * (len(RUN_SECONDS) + 1)  # by how long they took
        self.run_seconds = 0.0
        self.receipts = 0  # sent
        # That the store held when it was asked last, without those of a lost history; None: it has not been asked.
        self.copies: int | None = None
        self.halts = dict.fromkeys(HALT_KINDS, 0)  # by kind of error

    @property
    def changes(self) -> int:
        """Events, without those that only say that time passes."""
        return sum(self.events.values()) - self.events[Heartbeat.kind]

    def took(self, run: Iterable[tuple[Event, int]], seconds: float, transactions: int) -> None:
        """A run of events, with the offsets of their records, was applied in ``seconds``."""
        events, records, data = self.events, 0, 0
        for event, _ in run:
            records += 1
            if isinstance(event, WriteBatch):
                events[event.kind] += len(event.lengths)
                data += len(event.data)
            else:
                events[event.kind] += 1
        self.records += records
        self.bytes += data
        self.transactions += transactions
        self.runs[bisect_left(RUN_SECONDS, seconds)] += 1
        self.run_seconds += seconds

    def halted(self, kind: str) -> None:
        """A site has stopped on doubt, with an error of that class."""
        self.halts[kind if kind in self.halts else OTHER] += 1
