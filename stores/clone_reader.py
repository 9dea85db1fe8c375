"""What state a clone is in, by its own key, and its blocks: those of its own, and those of its copy under them."""

import os
from collections.abc import Callable
from typing import cast

from tidelog.errors import Fenced, NotFound
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, Reply
from tidelog.stores.reading import WHOLE, CopyReader, Fetch
from tidelog.stores.store import Clone

_LIVE, _DROPPING, _FORMING = b"live:", b"dropping:", b"forming:"
# Of a clone that was materialised from the log, until something is written in it.
UNTOUCHED = _LIVE + b"untouched"
# Behind it, in the key of a clone that one writer has for itself, is which: a change by anybody keeps it.
_CLAIMED = b"@"


def forming_token() -> bytes:
    """A new value of the key of a clone that is being filled from the log, by whoever put it there last."""
    return _FORMING + os.urandom(8).hex().encode()


def is_forming(state: Reply) -> bool:
    """Whether a clone's key says that it is being filled."""
    return isinstance(state, bytes) and state.startswith(_FORMING)


def live_token(before: bytes = b"") -> bytes:
    """A new value of the key of a clone that can be used, and is whose it was by the value ``before``."""
    return _LIVE + os.urandom(8).hex().encode() + b"".join(before.partition(_CLAIMED)[1:])


def unclaimed(state: bytes) -> bytes:
    """The value of a clone's key less whose it is: what changes with every change of the content, and only then."""
    return state.partition(_CLAIMED)[0]


def claimed(state: bytes, claim: bytes) -> bytes:
    """The same value, of a clone that is ``claim``'s from now on."""
    return unclaimed(state) + _CLAIMED + claim


def check_claim(clone: Clone, state: bytes, claim: bytes) -> None:
    """Raises `Fenced` unless a live clone is still ``claim``'s; an empty one is anybody's."""
    if claim and state.partition(_CLAIMED)[2] != claim:
        raise Fenced(
            f"clone {clone.name} has been claimed anew: another process has opened a database on it",
            hint="one process at a time has the databases of a clone; open it again to take it back",
        )


def dropping_token() -> bytes:
    """A new value of the key of one that was dropped."""
    return _DROPPING + os.urandom(8).hex().encode()


def is_dropping(state: Reply) -> bool:
    """Whether a clone's key says that it was dropped, and that something of it is left."""
    return isinstance(state, bytes) and state.startswith(_DROPPING)


def check_live(clone: Clone, state: Reply) -> bytes:
    """The value of a clone's key. Raises `NotFound` unless it can be used."""
    if isinstance(state, bytes) and state.startswith(_LIVE):
        return state
    if is_forming(state):
        raise still_forming(clone)
    raise NotFound(
        f"clone {clone.name} is not here any more",
        hint="it was dropped, or the site was rebuilt: tidelog clone list",
    )


def still_forming(clone: Clone) -> NotFound:
    """The error for a clone that is not whole yet."""
    return NotFound(
        f"clone {clone.name} is still being materialised, or that was cut short",
        hint="wait for it, or give the command again, which goes on: tidelog group materialise; or drop it: tidelog"
        f" clone drop {clone.name} --group GROUP --site SITE",
    )


class CloneReader:
    """Reads of one volume of a clone. ``fetch`` says what of each block is read, ``live`` raises unless the clone may
    be read by its key's value."""

    def __init__(
        self,
        keyspace: Keyspace,
        keys: Keys,
        clone: Clone,
        volume: VolumeInfo,
        *,
        fetch: Fetch = WHOLE,
        live: Callable[[Clone, Reply], bytes] = check_live,
    ) -> None:
        self._live = live
        self._keyspace, self._keys, self._clone, self._volume = keyspace, keys, clone, volume.id
        self._fetch = fetch
        info = clone.in_base(volume.id)
        self._base = None if info is None else CopyReader(keyspace, keys, info, clone.base, fetch=fetch)

    def blocks(self, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        """The contents of the blocks ``base`` + n for all n in ``wanted``; absent ones are all zeros. ``base`` is a
        multiple of 8. The clone's own are of one state. Raises `NotFound`, `SiteBehind`."""
        keys, number = self._keys, self._clone.id
        low, high = byte_range(base, base + len(wanted.bits) * 8)
        key_of = keys.clone_format(number, self._volume)
        blocks = [base + index for index in wanted.blocks()]
        if not blocks:
            return {}
        state, bits, *replies = self._keyspace.transact(
            [
                (b"GET", keys.clone(number)),
                (b"GETRANGE", keys.clone_bitmap(number, self._volume), b"%d" % low, b"%d" % (high - 1)),
                *self._fetch.commands([key_of % block for block in blocks]),
            ]
        )
        self._live(self._clone, state)
        written = ChangeBitmap(cast("bytes", bits))
        rest = wanted - written
        found = self._base.blocks(base, rest) if self._base is not None and rest.count else {}
        for block, content in zip(blocks, self._fetch.contents(replies), strict=True):
            if content is not None and block - base in written:
                found[block] = content
        return found
