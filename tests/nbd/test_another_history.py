"""A live volume at a site that has applied what the log has lost: errors and data, no wrong bytes and no holes."""

from tests.nbd.client import EIO, READ
from tests.nbd.disk import BLOCK, SIZE, Disk


def test_a_site_of_another_history(memory_disk: Disk) -> None:
    """It seems to have come further than a write of this session that it does not have: no hole, and no read."""
    disk = memory_disk
    disk.lose()
    assert disk.client.status(0, SIZE) == [(SIZE, 0)]
    for offset in (0, 700 * BLOCK):
        answer = disk.client.call(READ, offset, 10)
        assert answer.error == EIO and b"another writer session" in answer.data
