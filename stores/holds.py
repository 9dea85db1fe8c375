"""Holds: a copy that is in use keeps its blocks, dropped or not (DESIGN section 5, "Dependants"; schedule C7).

Why that is safe: a hold is put by an EXEC that is conditional on the position, beside which its copy was seen formed,
or the hold itself was seen in place. A copy stops being formed only by an EXEC that moves the position, and its drop
begins only after that, by an EXEC that is conditional on the position beside which no live hold was seen, and that
takes the ended ones away (`tidelog.stores.drop`). So a hold that is seen in the table has all its copy's blocks behind
it, and once the drop has begun none can be put. Taking one does not move the position: appliers are not disturbed.

Data, holds and position are in one Redis, and go back together when it loses its tail.
"""

import os
import socket
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Self, cast

from tidelog.errors import NotFound, StoreUnavailable, Unavailable
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, Reply
from tidelog.stores.reading import check_good, check_readable, standing
from tidelog.stores.records import decode_hold, encode_hold
from tidelog.stores.state import present
from tidelog.stores.store import Copy, Hold, HoldKind
from tidelog.stores.watched import change_beside

# A lease ends so long after it was last renewed; while its process lives it is renewed this often. Both in seconds.
LEASE_SECONDS = 60.0
RENEW_SECONDS = 20.0


def new_id() -> str:
    """16 hexadecimal digits, for a hold or a clone."""
    return os.urandom(8).hex()


def this_process() -> str:
    """Who holds, for people: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def read_holds(keyspace: Keyspace, keys: Keys) -> tuple[list[Hold], int]:
    """Every hold, live or ended, and the time by the clock of Redis in microseconds."""
    rows, now = keyspace.transact([(b"HGETALL", keys.holds), (b"TIME",)])
    return [decode_hold(row) for row in cast("list[bytes]", rows)[1::2]], time_us(now)


def time_us(reply: Reply) -> int:
    """What TIME has replied, in microseconds."""
    seconds, rest = cast("list[bytes]", reply)
    return int(seconds) * 1_000_000 + int(rest)


def put_lease(keyspace: Keyspace, keys: Keys, copy: Copy, kind: HoldKind, holder: str) -> None:
    """Puts or renews the lease ``copy.hold``: it ends `LEASE_SECONDS` from now.

    Raises `NotFound` unless the copy is formed, or that very hold is in place; `SiteBehind` while the site is being
    rebuilt; `StoreUnavailable` after bounded tries.
    """

    def plan(value: bytes | None) -> list[Command]:
        present(value)
        commands: list[Command] = [*standing(keys, copy), (b"GET", keys.rebuild)]
        record, hold, rebuild, rows, now = keyspace.transact([*commands, (b"HGETALL", keys.holds), (b"TIME",)])
        check_good(rebuild)
        check_readable(copy, record, hold)
        until_us = time_us(now) + round(LEASE_SECONDS * 1_000_000)
        row = encode_hold(Hold(copy.hold, copy.generation, copy.sequence, copy.seal, kind, holder, until_us))
        return [*_long_ended(keys, rows, time_us(now)), (b"HSET", keys.holds, copy.hold.encode(), row)]

    failed = StoreUnavailable(f"copy {copy.name} cannot be held: the store never stands still", hint="try again")
    change_beside(keyspace, keys.position, plan, failed)


def _long_ended(keys: Keys, rows: Reply, now_us: int) -> list[Command]:
    """Takes away what processes that were killed have left, of copies that stay."""
    before_us = now_us - round(LEASE_SECONDS * 1_000_000)
    holds = map(decode_hold, cast("list[bytes]", rows)[1::2])
    gone = [hold.id.encode() for hold in holds if not hold.live(before_us)]
    return [(b"HDEL", keys.holds, *gone)] if gone else []


class Lease:
    """A hold that this process renews until it is closed; read through ``copy``, which carries it.

    A process that was killed renews no more, and its lease ends by itself. Close it, or use it as a context manager.
    """

    def __init__(self, leases: "Leases", copy: Copy, kind: HoldKind, holder: str) -> None:
        self.copy, self.kind, self.holder = copy, kind, holder
        self._leases = leases

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets the copy go. Where Redis does not answer, the lease ends by itself."""
        self._leases.release(self)


class Leases:
    """The leases of this process on one store, renewed by one thread while there are any. Thread-safe."""

    def __init__(self, keyspace: Keyspace, keys: Keys) -> None:
        self._keyspace, self._keys = keyspace, keys
        self._held: dict[str, Lease] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self, copy: Copy, kind: HoldKind, holder: str) -> Lease:
        """A lease on a copy that is formed. Raises as `put_lease`."""
        lease = Lease(self, replace(copy, hold=new_id()), kind, holder or this_process())
        put_lease(self._keyspace, self._keys, lease.copy, kind, lease.holder)
        with self._changed:
            self._held[lease.copy.hold] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, name="tidelog-leases", daemon=True)
                self._thread.start()
        return lease

    def release(self, lease: Lease) -> None:
        """Ends a lease; one that has ended is let be."""
        with self._changed:
            if self._held.pop(lease.copy.hold, None) is None:
                return
            self._changed.notify_all()
            remove_holds(self._keyspace, self._keys, [lease.copy.hold])

    def close(self) -> None:
        """Ends every lease."""
        with self._changed:
            held, self._held = list(self._held), {}
            self._changed.notify_all()
            if held:
                remove_holds(self._keyspace, self._keys, held)

    def _renew_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._held, RENEW_SECONDS)
                if not self._held:
                    self._thread = None
                    return
                held = list(self._held)
            for name in held:
                self._renew(name)

    def _renew(self, name: str) -> None:
        with self._changed:  # so that none is put again that is being released
            lease = self._held.get(name)
            if lease is None:
                return
            try:
                put_lease(self._keyspace, self._keys, lease.copy, lease.kind, lease.holder)
            except NotFound:
                del self._held[name]  # lost: its reads say so
            except (
                Exception
            ):  # the thread must not die of it: tried again in `RENEW_SECONDS`, as long as the lease lasts
                return


def remove_holds(keyspace: Keyspace, keys: Keys, holds: Iterable[str]) -> None:
    """Releases holds. Where Redis does not answer they stay, and end by themselves."""
    try:
        keyspace.transact([(b"HDEL", keys.holds, *(hold.encode() for hold in holds))])
    except Unavailable:
        return
