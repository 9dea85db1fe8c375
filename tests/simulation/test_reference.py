"""The reference itself: it reads what Apache's Avro reads, and refuses what cannot be."""

import pytest

from tests.producers.author import following, put
from tests.producers.conftest import GROUP_ID, Lab
from tests.reference import Impossible, Reference, decode, decode_apache
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.events import Discard, Heartbeat, WriteBatch


@pytest.fixture
def log() -> MemoryLog:
    """A log with every kind of event that this version writes."""
    lab = Lab()
    group = lab.group()
    volume = group.create_volume("v", 5000, block_size=512)
    volume.write(10, b"one")
    volume.write(4000, b"two" * 200)
    group.mark("a")
    volume.discard(0, 512)
    volume.resize(1000)
    volume.resize(9000)
    group.mark("b")
    group.drop_copy("a")
    group.delete_volume("v")
    group.session.emit(Heartbeat)
    group.close()
    return lab.log


def test_fastavro_and_apache_read_the_same(log: MemoryLog) -> None:
    """Every record, field by field."""
    kinds = set()
    for record in log._records:
        fields = decode(record.value)
        assert decode_apache(record.value) == fields
        kinds.add(fields["kind"])
    assert len(kinds) == 9


def test_an_image_by_hand(log: MemoryLog) -> None:
    """What a person would say that the log holds."""
    records = [(record.offset, record.value) for record in log._records]
    early = Reference(GROUP_ID).fold(records, until=4)
    assert early.image() == {2: ("v", 512, bytes(10) + b"one" + bytes(3987) + b"two" * 200 + bytes(400))}
    grown = Reference(GROUP_ID).fold(records, until=8)
    assert grown.image() == {2: ("v", 512, bytes(9000))}
    assert [(cut.name, cut.sequence, cut.blocks_changed) for cut in grown.copies.values()] == [("a", 5, 3)]
    whole = Reference(GROUP_ID).fold(records)
    assert whole.image() == {} and whole.sequence == 12
    assert [(cut.name, cut.blocks_changed) for cut in whole.copies.values()] == [("b", 10)]


def test_what_cannot_be() -> None:
    """A wrong seal, a write outside a volume, time that goes back."""
    lab = Lab()
    group = lab.group()
    group.create_volume("v", 1000)
    head = group.session.confirmed
    stamp = head.timestamp_us + 1
    lists = {"volumes": [2], "offsets": [999], "lengths": [2], "timestamps_us": [stamp], "data": b"xx"}
    for event in (
        following(WriteBatch, head, **lists),
        following(Discard, head, volume=3, offset=0, length=1),
        following(Heartbeat, head, timestamp_us=head.timestamp_us),
    ):
        put(lab.log, event)
        with pytest.raises(Impossible):
            lab.reference()
        lab.log.truncate(2)
    value = lab.log._records[-1].value
    lab.log.put(value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(Impossible, match="seal"):
        lab.reference()
    lab.end()
