"""A live volume at a site that has applied what the log has lost: errors and data, no wrong bytes and no holes."""

from tests.nbd.client import EIO, FUA, READ
from tests.nbd.disk import BLOCK, SIZE, Disk


def test_a_site_of_another_history(memory_disk: Disk) -> None:
    """It seems to have come further than a write of this session that it does not have: no hole, and no read."""
    disk = memory_disk
    kept = disk.group.session.confirmed.offset + 1
    for _ in range(30):
        disk.client.write(0, b"lost", flags=FUA)
    disk.applied()
    disk.running.stop_site("tokyo")
    disk.log.truncate(kept, noticed=False)
    disk.open()
    disk.connect()
    disk.client.write(700 * BLOCK, b"in the log", flags=FUA)
    assert disk.client.status(0, SIZE) == [(SIZE, 0)]
    for offset in (0, 700 * BLOCK):
        answer = disk.client.call(READ, offset, 10)
        assert answer.error == EIO and b"another writer session" in answer.data
