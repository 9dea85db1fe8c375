"""An application that writes on through promotions: it opens its group again whenever its session has been ended."""

import threading

from tests.faults.folded import all_equal
from tests.reference import Reference
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment
from tidelog.errors import Fenced
from tidelog.testing.readiness import wait_until

BLOCK, BLOCKS = 512, 64


class Application:
    """Writes numbered blocks to the volume ``data``, flushing each few; on a thread of its own until `stop`."""

    def __init__(self, deployment: Deployment, group: str) -> None:
        self._deployment, self._group = deployment, group
        self._stopping = threading.Event()
        self.flushed = 0  # the number of the last write that a flush which returned covers
        self.flushed_at: dict[str, int] = {}  # the same by the site that was read from
        self.fenced: list[Fenced] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; raises what it met other than being fenced."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def writes_at(self, site: str, timeout_s: float = 60) -> None:
        """Waits for flushes of a session that reads at that site and began after this call."""
        before = self.flushed
        reached = wait_until(
            lambda: self.error is not None or self.flushed_at.get(site, 0) > max(before, 0) + 20, timeout_s
        )
        assert self.error is None and reached, f"nothing was written at {site}: {self.error!r}, {self.flushed_at}"

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._write()
        except BaseException as error:
            self.error = error

    def _write(self) -> None:
        group = open_group(self._group, deployment=self._deployment)
        number, site = self.flushed, group.read_side.site
        try:
            volume = group.create_volume("data", BLOCK * BLOCKS, BLOCK)
            # What a session whose flush did not return has left is overwritten: numbers go on from the log's content.
            newest = max(int.from_bytes(volume.read(at * BLOCK, 8), "big") for at in range(BLOCKS))
            assert newest >= number, f"write {number} was flushed, and {site} has {newest}"
            number = newest
            while not self._stopping.is_set():
                for _ in range(4):
                    number += 1
                    volume.write(number % BLOCKS * BLOCK, number.to_bytes(8, "big") * (BLOCK // 8))
                group.flush()
                self.flushed = self.flushed_at[site] = number
        except Fenced as error:
            self.fenced.append(error)
            group.abandon()
            return
        group.close()


def compared(deployment: Deployment, group: str, sites: tuple[str, ...], flushed: int) -> Reference:
    """Every site's live volume and copies, once it has come to the log's end, are the reference's, which holds every
    flushed write."""
    reference = all_equal(deployment, group, sites)
    (live,) = (data for name, _, data in reference.image().values() if name == "data")
    for number in range(max(1, flushed - BLOCKS + 1), flushed + 1):
        at = number % BLOCKS * BLOCK
        assert int.from_bytes(live[at : at + 8], "big") >= number, f"write {number} was flushed and is lost"
    return reference
