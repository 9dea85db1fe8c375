"""Which groups a worker owns: Kafka's own consumer groups decide, so that workers can be added and lost.

Ownership is for sharing the work only. Two workers that both believe they own a group do no harm: the store's position
lets one transaction through (DESIGN section 4).
"""

from collections.abc import Mapping
from typing import Protocol


class Membership(Protocol):
    """A worker's place among the workers of its site. Not thread-safe."""

    def owned(self, groups: Mapping[str, str]) -> set[str]:
        """Which of ``groups`` (name -> topic) this worker owns now; call it at least every few seconds, since that is
        also what keeps the membership alive. Raises `LogUnavailable`."""

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Tells Kafka, for lag tools, the next offset by topic; never read back. Failures are of no consequence."""

    def close(self) -> None:
        """Leaves, so that others take over at once."""


class SoleWorker:
    """The membership of a worker that owns whatever it is asked about."""

    def owned(self, groups: Mapping[str, str]) -> set[str]:
        """All of them."""
        return set(groups)

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Nothing to leave."""
