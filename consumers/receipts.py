"""Receipts: what a site answers when it has formed a copy (the complete message of US8788772's claim 2).

Digesting reads blocks, so it runs beside the applying, on a thread of its own.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tidelog.clock import wall_us
from tidelog.consumers.counts import Counts
from tidelog.errors import Halted, NotFound, TidelogError, Unavailable
from tidelog.producers.control import Control, ControlView
from tidelog.schemas.control import CopyFormed, CopyOrdered, OrderAnswered, copy_key, order_key
from tidelog.stores.digest import DigestEnded, interruptible
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyOrigin, Identity
from tidelog.stores.timed import DueCopy

RETRY = 2.0


def receipt_for(who: Identity, copy: Copy, digest: bytes, formed_us: int) -> CopyFormed:
    """What a site says of a copy that it holds; ``formed_us`` is 0 where nobody knows when it was said."""
    return CopyFormed(
        site=who.site,
        group=who.group,
        sequence=copy.sequence,
        seal=copy.seal,
        name=copy.name,
        timestamp_us=copy.timestamp_us,
        digest=digest,
        blocks_changed=copy.blocks_changed,
        formed_us=formed_us,
    )


def not_held(store: Store, held: set[tuple[int, str]], view: ControlView) -> Iterator[CopyFormed]:
    """What the store's site has said of copies that the store, which is past them, does not hold any more. ``held`` are
    those that it held a while ago."""
    who = store.identity
    for key, record in view.items():
        if (
            isinstance(record, CopyFormed)
            and (record.group, record.site) == (who.group, who.site)
            and (record.sequence, record.name) not in held
            and record.sequence <= store.position().head.sequence
            and key == copy_key(record.group, record.sequence, record.name, record.site)
            and (record.sequence, record.name) not in {(copy.sequence, copy.name) for copy in store.copies()}
        ):
            yield record


class Receipts:
    """Keeps this site's receipts on the control topic equal to the copies that its store holds.

    A receipt is sent once a copy's digest is known, sent anew when a rewind or a rebuild made the copy again, and
    taken back when the copy is gone. It is never read back as proof that a copy is there.
    """

    def __init__(self, store: Store, control: Control, counts: Counts) -> None:
        self._store, self._control, self._counts = store, control, counts
        self._wake = threading.Event()
        self._closed = False
        self._stopping: Callable[[], bool] = lambda: True  # once closed: whether what is left is left
        self._sent: set[tuple[int, bytes, str, int]] = set()
        # The commands that came too late: their state and reason, as in `OrderAnswered`. Replaced as a whole.
        self.late: Mapping[DueCopy, tuple[str, str]] = {}
        self.error: TidelogError | None = None  # of the last round, for the status
        self.halt: Halted | None = None  # damage that the last round met: the applying thread ends on it
        self._thread = threading.Thread(target=self._run, name="tidelog-receipts", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something may have changed: look at the copies."""
        self._wake.set()

    def close(self) -> None:
        """Ends within a chunk of the digest that is being computed, and asks nothing more of a store that may be gone:
        the applying waits for it to connect anew, or to say so."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    def finish(self, stopping: Callable[[], bool]) -> None:
        """Ends, and answers for what is left unless ``stopping``: a site that halts still has the copies it formed."""
        self._stopping = stopping
        self.close()
        self._try_round(stopping)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(RETRY if self.error is not None else None)
            self._wake.clear()
            if not self._ended():
                self._try_round(self._ended)

    def _ended(self) -> bool:
        return self._closed and self._stopping()

    def _try_round(self, ended: Callable[[], bool]) -> None:
        try:
            with interruptible(ended):
                self._round(ended)
            self.error = self.halt = None
        except DigestEnded:
            return  # whoever answers next computes it
        except Unavailable as error:
            self.error = error  # tried again after RETRY seconds
        except Halted as error:
            self.error = self.halt = error
        except TidelogError as error:
            self.error = error  # likewise; it may be mended meanwhile
        except Exception as error:  # a thread must not die unseen
            self.error = TidelogError(f"receipts failed: {error!r}", hint="this is a bug in tidelog")

    def _round(self, ended: Callable[[], bool]) -> None:
        held = self._store.copies(lost=True)
        copies = [copy for copy in held if copy.origin is not CopyOrigin.LOST]
        self._counts.copies = len(copies)
        view = self._control.snapshot()  # one for all: it asks the broker
        self._tell_late(copies, view)
        self._retract_lost(held, view)  # first: another copy may have a lost one's sequence and name
        for copy in copies:
            if ended():
                return
            # The count with it: a copy that is slipped in before this one changes what was changed since the last.
            identity = (copy.sequence, copy.seal, copy.name, copy.blocks_changed)
            if identity not in self._sent and self._answer(copy, view):
                self._sent.add(identity)
        self._retract({(copy.sequence, copy.name) for copy in copies}, view)

    def _answer(self, copy: Copy, view: ControlView) -> bool:
        try:
            digest = self._store.digest(copy)
        except NotFound:
            return False  # dropped meanwhile
        receipt = receipt_for(self._store.identity, copy, digest, wall_us())
        there = view.get(receipt.key)
        if not isinstance(there, CopyFormed) or there.model_copy(update={"formed_us": receipt.formed_us}) != receipt:
            self._control.publish(receipt)
            self._counts.receipts += 1
        return True

    def _retract(self, held: set[tuple[int, str]], view: ControlView) -> None:
        for record in not_held(self._store, held, view):
            self._control.retract(record.key)
            self._sent.discard((record.sequence, record.seal, record.name, record.blocks_changed))

    def _retract_lost(self, copies: Sequence[Copy], view: ControlView) -> None:
        """What was said of copies that have become lost history: they are out of the catalogue, and of its alarms. Not
        of one that is here again: a copy by time that was made once more is the same."""
        who = self._store.identity
        lost = {(one.sequence, one.seal) for one in copies if one.origin is CopyOrigin.LOST}
        lost -= {(one.sequence, one.seal) for one in copies if one.origin is not CopyOrigin.LOST}
        for key, record in view.items():
            if (
                isinstance(record, CopyFormed)
                and (record.group, record.site) == (who.group, who.site)
                and (record.sequence, record.seal) in lost
            ):
                self._control.retract(key)
                self._sent.discard((record.sequence, record.seal, record.name, record.blocks_changed))

    def _tell_late(self, copies: Iterable[Copy], view: ControlView) -> None:
        """Says of each command that came too late what is done about it, until its copy is there or nobody asks; that
        one is being made for as long as it is, since it may have gone again before anybody looked."""
        who = self._store.identity
        late = self.late
        for order, (state, reason) in late.items():
            answer = OrderAnswered(
                site=who.site,
                group=who.group,
                name=order.name,
                at_us=order.at_us,
                state=state,
                reason=reason,
                answered_us=wall_us(),
            )
            there = view.get(answer.key)
            if (
                not isinstance(there, OrderAnswered)
                or there.model_copy(update={"answered_us": answer.answered_us}) != answer
            ):
                self._control.publish(answer)
        timed = (copy for copy in copies if copy.origin is CopyOrigin.TIME)
        formed = {DueCopy(copy.name, copy.timestamp_us) for copy in timed}
        for key, record in view.items():
            if isinstance(record, OrderAnswered) and (record.group, record.site) == (who.group, who.site):
                order, command = DueCopy(record.name, record.at_us), view.get(order_key(record.name))
                stands = isinstance(command, CopyOrdered) and not command.dropped_us
                lasts = stands and record.state != "FORMING"
                if order in formed or (order not in late and not lasts):
                    self._control.retract(key)
