"""One connection, and what it may cost: a client that is slow in asking or in reading is cut off."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
UNREAD_SECONDS = 10.0
HEAD_BYTES_MAX = 16 * 1024
IDLE_SECONDS = 15


class PatientConnection(H11Protocol):
    """uvicorn's own, with two limits that it does not have: a request's head is complete within `HEAD_SECONDS`, and
    of what was answered something is read every `UNREAD_SECONDS`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._head: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self.since = self.loop.time()  # it waits for a request
        self.aborted = False

    @property
    def asked(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def unread_bytes(self) -> int:
        """What was answered and the kernel has not yet taken."""
        # What TLS has passed on is kept by the transport below it, of which asyncio tells nothing.
        below = getattr(getattr(self.transport, "_ssl_protocol", None), "_transport", None)
        kept = (one.get_write_buffer_size() for one in (self.transport, below) if one is not None)
        return sum(kept)

    def abort(self) -> None:
        """Cuts it off at once."""
        self.aborted = True
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`, and those below."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.asked:
            self._head_is_here()
        elif self._head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._nothing_to_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        self._await_reading()
        super().resume_writing()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        self._head_is_here()
        self._await_reading()
        super().on_response_complete()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self.abort)

    def _await_reading(self) -> None:
        """Anew whenever the buffer was filled, was nearly emptied, or (below) has shrunk."""
        self._nothing_to_read()
        if there := self.unread_bytes:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self._must_have_shrunk, there)

    def _must_have_shrunk(self, before: int) -> None:
        if self.unread_bytes < before:
            self._await_reading()
        else:
            self.abort()

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _nothing_to_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
