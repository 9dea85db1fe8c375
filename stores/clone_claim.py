"""Who may fill a clone: one process, on a connection of its own that watches the clone's key.

Whoever takes a claim puts a new value there, and so ends any other's: of two who fill one clone the later goes on, and
the earlier writes no more. The record says what is reached; it changes in the EXEC that changes blocks.
"""

from collections.abc import Sequence
from typing import cast

from tidelog.errors import NotFound, StoreUnavailable, TidelogError
from tidelog.stores.clone_reader import UNTOUCHED, forming_token, is_forming
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved, Session
from tidelog.stores.records import decode_clone, encode_clone
from tidelog.stores.store import Clone


class CloneClaim:
    """A claim on a clone that is forming; close it. ``clone`` is its record as it was found.

    Every method raises `StoreUnavailable`, also once another process has taken the clone; `NotFound` once it was
    dropped, or the site rebuilt.
    """

    def __init__(self, keyspace: Keyspace, keys: Keys, clone: Clone) -> None:
        self._keyspace, self._keys, self.clone = keyspace, keys, clone
        self._key, self._token = keys.clone(clone.id), forming_token()
        self._expected: bytes | None = None  # what the key will be once the transaction on its way is done
        self._session: Session = keyspace.session(self._key)
        try:
            if not is_forming(state := self._session.begin()):
                raise self._lost(state)
            self._submit([], self._token)
            self.settle()
            (row,) = keyspace.transact([(b"HGET", keys.clones, clone.field.encode())])
            if not isinstance(row, bytes):
                raise self._lost(None)
            self.clone = decode_clone(row)
        except BaseException:
            self._session.close()
            raise

    def close(self) -> None:
        """Ends the connection; what is on its way may or may not take effect."""
        self._session.close()

    def send(self, commands: Sequence[Command], clone: Clone) -> None:
        """Carries out ``commands`` and puts the record in one EXEC. Returns when they are sent; the next call, or
        `settle`, waits for them. A record that is not forming any more is the last."""
        self.settle()
        record: Command = (b"HSET", self._keys.clones, clone.field.encode(), encode_clone(clone))
        self._submit([*commands, record], self._token if clone.forming else UNTOUCHED)

    def settle(self) -> None:
        """Waits for what is on its way."""
        expected, self._expected = self._expected, None
        if expected is None:
            return
        try:
            state = self._session.settle()
        except PositionMoved:
            (reply,) = self._keyspace.transact([(b"GET", self._key)])
            raise self._lost(cast("bytes | None", reply)) from None
        if state != expected:
            raise self._lost(state)

    def _submit(self, commands: list[Command], token: bytes) -> None:
        self._session.submit([*commands, (b"SET", self._key, token)])
        self._expected = token

    def _lost(self, state: bytes | None) -> TidelogError:
        if is_forming(state):
            return StoreUnavailable(
                f"another process has taken clone {self.clone.name} over, and goes on with it",
                hint="see how far it is: tidelog clone list --group GROUP --site SITE",
            )
        return NotFound(
            f"clone {self.clone.name} is not being materialised any more",
            hint="it was dropped, the site was rebuilt, or another process has ended it: tidelog clone list",
        )
