"""What goes on while a site's worker is killed: a teller and a marker, each on a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import tidelog


class Traffic:
    """Transactions one after the other and a PITC every second, from entering to leaving the ``with`` block.

    An error ends its thread, not the block: `checks` tells it.
    """

    def __init__(self, transfer: Callable[[], None], mark: Callable[[str], tidelog.MarkedCopy]) -> None:
        self._transfer, self._mark = transfer, mark
        self.marks: list[tidelog.MarkedCopy] = []
        self.transactions = 0
        self.transactions_at_kill = 0
        self._errors: list[str] = []
        self._stop = threading.Event()
        self._started = self._seconds = 0.0
        self._threads = [
            threading.Thread(target=self._guarded, args=(name, target), daemon=True)
            for name, target in (("teller", self._transfer_until), ("marker", self._mark_until))
        ]

    def killed(self) -> None:
        """To be called when the worker was killed: what comes later counts as after it."""
        self.transactions_at_kill = self.transactions

    def checks(self) -> Iterator[tuple[bool, str]]:
        """After the block: whether each thing held, and what it was."""
        errors = "; ".join(self._errors)
        yield not errors, f"teller and marker ended without an error{': ' if errors else ''}{errors}"
        before, after = self.transactions_at_kill, self.transactions - self.transactions_at_kill
        yield before > 0 and after > 0, f"transactions before the kill ({before}) and after it ({after})"
        wanted = 0.8 * (self._seconds - 1)
        yield len(self.marks) >= max(1, wanted), f"about one PITC a second: {len(self.marks)} in {self._seconds:.0f} s"

    def _transfer_until(self) -> None:
        while not self._stop.is_set():
            self._transfer()
            self.transactions += 1

    def _mark_until(self) -> None:
        """A consistency marker every second, whatever the transactions are doing just then."""
        due = self._started + 1
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self.marks.append(self._mark(f"pitc-{len(self.marks) + 1:02}"))
            due = max(due + 1, time.monotonic())  # a second from when it was due, not from when it was done

    def _guarded(self, name: str, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # whatever it is, it is what the demo failed with
            self._errors.append(f"{name}: {type(error).__name__}: {error}")

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._seconds = time.monotonic() - self._started
