"""Locks and keeps of copies: what the primary site's store says. Asked when a page wants it, never for long, and while
Kafka is away, too."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tidelog.clock import time_or_none
from tidelog.consumers.deployment import Deployment, open_store_of
from tidelog.errors import TidelogError
from tidelog.gateways.web.documents import Protection
from tidelog.schemas.control import GroupCreated

FRESH_SECONDS = 2.0
PATIENCE_SECONDS = 3.0

Found = tuple[Protection | None, str]


class Protections:
    """By group and site; each answer is kept for `FRESH_SECONDS`, and one thread at most asks for one. Belongs to the
    event loop."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._found: dict[tuple[str, str], tuple[float, Found]] = {}
        self._asking: dict[tuple[str, str], asyncio.Future[Found]] = {}

    async def of(self, group: GroupCreated, site: str | None) -> Found:
        """What is known at the site, or None and why nothing is."""
        if site is None:
            return None, "the group has no primary here"
        key = group.group, site
        at, found = self._found.get(key, (0.0, (None, "")))
        if at and time.monotonic() - at < FRESH_SECONDS:
            return found
        if key not in self._asking:
            asked = in_a_thread(lambda: read(self._deployment, site, group))
            self._asking[key] = asked
            asked.add_done_callback(lambda future: self._answered(key, future))
        try:
            return await asyncio.wait_for(asyncio.shield(self._asking[key]), PATIENCE_SECONDS)
        except TimeoutError:
            return None, f"the store of site {site} has not answered for {PATIENCE_SECONDS:g} s"

    def _answered(self, key: tuple[str, str], future: "asyncio.Future[Found]") -> None:
        del self._asking[key]
        if not future.cancelled():
            self._found[key] = (time.monotonic(), future.result())


def read(deployment: Deployment, site: str, group: GroupCreated) -> Found:
    """What the store of a group at a site says, or None and why it cannot be asked."""
    try:
        with closing(open_store_of(deployment, site, group)) as store:
            copies = store.copies()
    except TidelogError as error:
        return None, f"site {site}: {error.message}"
    told: dict[tuple[int, bytes, str], dict[str, Any]] = {
        (copy.sequence, copy.seal, copy.name): {
            "locked_until": time_or_none(copy.locked_until_us),
            "kept": copy.kept,
        }
        for copy in copies
    }
    return told, ""


def in_a_thread(function: Callable[[], Found]) -> "asyncio.Future[Found]":
    """Its result, from a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Found] = loop.create_future()

    def done(found: Found) -> None:
        if not future.done():
            future.set_result(found)

    def run() -> None:
        try:
            found = function()
        except Exception as error:  # told where it is asked for: locks are unknown, and why
            found = (None, f"unexpected {type(error).__name__}: {error}")
        try:
            loop.call_soon_threadsafe(done, found)
        except RuntimeError:
            return  # the loop has ended meanwhile, and nobody waits

    threading.Thread(target=run, name="tidelog-protection", daemon=True).start()
    return future
