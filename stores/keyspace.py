"""What a store needs of Redis, and nothing more. Redis and the in-memory twin pass the same contract tests.

Two ways in: `Keyspace.transact`, one atomic MULTI/EXEC on any connection, for reading and for the few keys outside the
data; and `Session`, the worker's own connection, whose every transaction is conditional on one watched key, the
position (DESIGN section 4, "Apply"; schedules L5, L6 and L10 of the protocol notes).
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from tidelog.errors import REBUILD, StoreDamaged, StoreUnavailable, TidelogError
from tidelog.stores.wire import Argument as Argument
from tidelog.stores.wire import Command as Command
from tidelog.stores.wire import unpack

Reply: TypeAlias = "int | bytes | list[Reply] | None"


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


class CommandError(Exception):
    """One command's error reply, as text; what a keyspace finds among replies before it judges them."""


def check_results(commands: Sequence[Command], results: Sequence[object]) -> None:
    """Raises `StoreDamaged` for the first result that is an error, other than a RENAME's ``no such key``.

    EXEC does not roll back (L10): the other commands of the transaction took effect, so nothing may go on from here.
    """
    if not any(isinstance(result, Exception) for result in results):
        return
    for command, result in zip(unpack(commands), results, strict=True):
        if isinstance(result, Exception):
            name = command[0].decode()
            if name == "RENAME" and "no such key" in str(result):
                continue
            raise StoreDamaged(
                f"{name} {command[1].decode(errors='replace')} failed inside a transaction: {result}",
                hint=f"a key was changed by hand or by another program; rebuild the site with: {REBUILD}",
            )


def refused(error: str) -> StoreUnavailable:
    """The error for a command, or a connection, that Redis refused before running anything."""
    word = error.split(" ", 1)[0]
    return StoreUnavailable(f"Redis refuses: {error}", hint=_HINTS.get(word, "see the Redis server's log"))


_HINTS = {
    "OOM": "Redis is at its maxmemory, and must not evict; raise it: dropping copies needs some memory first",
    "NOPERM": "this Redis user lacks a permission; see docs for the ACL that a site needs",
    "NOAUTH": "Redis wants a password; set it in the site's redis settings",
    "WRONGPASS": "the Redis user name or password is wrong; see the site's redis settings",
    "LOADING": "Redis is still loading its data; try again soon",
    "READONLY": "this Redis is a replica; point the site at the primary",
    "MISCONF": "Redis cannot save to disk; see its log",
    "NOREPLICAS": "Redis has fewer replicas than its min-replicas-to-write",
    "MASTERDOWN": "this Redis is a replica that lost its primary",
    "MOVED": "this node of the Redis cluster does not hold the group; point the site at the node that does",
    "CLUSTERDOWN": "the Redis cluster is down",
    "ERR": "the server may be too old: Redis 6.2 or Valkey 7.2 is the least",
}
