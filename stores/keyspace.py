"""What a store needs of Redis, and nothing more. Redis and the in-memory twin pass the same contract tests.

Two ways in: `Keyspace.transact`, one atomic MULTI/EXEC on any connection, for reading and for the few keys outside the
data; and `Session`, the worker's own connection, whose every transaction is conditional on one watched key, the
position (DESIGN section 4, "Apply"; schedules L5, L6 and L10 of the protocol notes).
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from tidelog.errors import TidelogError

# A command as Redis takes it: name, then arguments. Block data goes in as memoryviews of the event, never copied.
Argument: TypeAlias = bytes | bytearray | memoryview
Command: TypeAlias = Sequence[Argument]
Reply: TypeAlias = "int | bytes | None | list[Reply]"


class PositionMoved(TidelogError):
    """Another worker, a command of another process or a rewind changed the position or the layout.

    Nothing of the refused transaction took effect. The applier that met it knows nothing any more: its owner throws
    it away, with all it has in memory, and opens a new one. Never leaves the worker.
    """


class Session(Protocol):
    """One connection of its own with one watched key. Never reconnects: once it fails it stays failed. Not thread-safe.

    Every method raises `StoreUnavailable` when the connection fails (whether a submitted transaction took effect is
    then unknown) or Redis refuses a command before it runs it (out of memory, ACL: nothing took effect).
    """

    def begin(self) -> bytes | None:
        """WATCHes the key, then GETs it: its value, None if absent. First call, and after a settled abort."""

    def submit(self, commands: Sequence[Command]) -> None:
        """Sends MULTI, ``commands``, EXEC, WATCH key, GET key in one write, and does not wait.

        The caller has begun, and has settled what it submitted before: at most one transaction is on its way.
        """

    def settle(self) -> bytes | None:
        """Waits for the submitted transaction: the key's value as GET read it behind the new WATCH.

        Raises `PositionMoved` if the key had changed since it was watched (nothing took effect), `StoreDamaged` if a
        command failed inside EXEC other than by RENAME's ``no such key`` (EXEC does not roll back).
        """

    def close(self) -> None:
        """Ends the connection at once; what is on its way may or may not take effect."""


class Keyspace(Protocol):
    """One Redis, thread-safe."""

    def transact(self, commands: Sequence[Command]) -> list[Reply]:
        """Executes ``commands`` as one MULTI/EXEC: nothing else is seen between them. Returns one reply each.

        Raises `StoreUnavailable` or, if a command fails, `StoreDamaged`.
        """

    def session(self, key: bytes) -> Session:
        """A connection of its own that watches ``key``. Raises `StoreUnavailable`."""

    def scan(self, cursor: int, prefix: bytes) -> tuple[int, list[bytes]]:
        """Some of the keys that begin with ``prefix`` and the cursor of the next call, 0 at start and end (SCAN)."""

    def eviction_policy(self) -> str:
        """The server's ``maxmemory-policy``."""

    def close(self) -> None:
        """Ends the connections that no session owns."""
