"""Copies onto volumes as their writer gives them: what is shipped is enough, whatever the site has applied.

The reference refuses a log with a copy after which target and source differ, or that leaves out what may differ.
"""

import math
import threading
from random import Random

import pytest

from tests.producers.conftest import Lab, events
from tidelog.errors import Fenced, NotFound, SiteBehind, UsageError
from tidelog.producers import volume as volume_module
from tidelog.producers import volume_copy as volume_copy_module
from tidelog.producers.group import Group
from tidelog.producers.overlay import Named
from tidelog.schemas import block_bitmap

KIB = 1024
BLOCK = 512


def applied(lab: Lab, group: Group) -> None:
    """The site has come as far as the log."""
    group.flush()
    lab.site.applied = group.session.confirmed.sequence


@pytest.fixture
def group(lab: Lab) -> Group:
    """Three volumes, the third of them larger."""
    group = lab.group()
    for name, size in (("a", 20 * KIB), ("b", 20 * KIB), ("c", 30 * KIB)):
        group.create_volume(name, size, BLOCK)
    applied(lab, group)
    return group


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_with_a_site_that_lags(lab: Lab, seed: int) -> None:
    """Writes, discards, resizes, cuts and copies of every kind against bytearrays; the site lags as it likes, down to
    the last copy onto a volume."""
    random = Random(seed)
    group = lab.group(batch_bytes=random.choice((2 * KIB, 64 * KIB)))
    models: dict[str, bytearray] = {}
    for name in "abc":
        group.create_volume(name, 20 * KIB, BLOCK)
        models[name] = bytearray(20 * KIB)
    copies: dict[str, dict[str, bytes]] = {}
    lab.site.applied = group.session.confirmed.sequence
    for step in range(120):
        name, what = random.choice("abc"), random.random()
        model, volume = models[name], group.volume(name)
        offset = random.randrange(len(model))
        length = min(random.choice((1, 100, BLOCK, 3000)), len(model) - offset)
        if what < 0.5:
            data = random.randbytes(length)
            volume.write(offset, data)
            model[offset : offset + length] = data
        elif what < 0.6:
            volume.discard(offset, length)
            model[offset : offset + length] = bytes(length)
        elif what < 0.65:
            size = random.choice((7000, 10 * KIB, 20 * KIB))
            volume.resize(size)
            del model[size:]
            model.extend(bytes(size - len(model)))
        elif what < 0.75:
            copies[f"m{step}"] = {name: bytes(model) for name, model in models.items()}
            group.mark(f"m{step}")
        else:
            source, copy = random.choice("abc"), random.choice([None, *copies])
            content = bytes(models[source]) if copy is None else copies[copy][source]
            if len(content) > len(model) or (source == name and copy is None):
                continue
            cut = group.session.state.copy(copy).sequence if copy else 0
            group.flush()
            lab.site.applied = random.randint(max(lab.site.applied, cut), group.session.confirmed.sequence)
            lab.site.applied = group.copy_volume(source, name, copy).sequence
            models[name] = bytearray(content.ljust(len(model), b"\0"))
        assert bytes(group.volume(name).read(0, len(models[name]))) == models[name], step
    group.flush()
    image = lab.reference().image()
    assert {name: content for name, _, content in image.values()} == {n: bytes(m) for n, m in models.items()}


def test_a_copy_says_what_it_brings(lab: Lab, group: Group) -> None:
    """All that was ever written to either, then what has changed; in the log stands a bitmap, and no data."""
    group.volume("a").write(0, b"x" * 5 * BLOCK)
    group.volume("b").write(9 * BLOCK, b"y")
    group.mark("m")
    applied(lab, group)
    first = group.copy_volume("a", "b")
    assert (first.source, first.target, first.source_copy, first.blocks) == ("a", "b", 0, 6)
    group.volume("a").write(7 * BLOCK, b"z")  # not applied, and not even sent
    lab.site.applied = first.sequence
    second = group.copy_volume("a", "b")
    assert second.blocks == 1 and second.sequence == group.session.confirmed.sequence
    applied(lab, group)
    restored = group.restore_volume("a", "m")
    assert (restored.blocks, restored.source_copy) == (1, group.session.state.copy("m").sequence)
    assert lab.reference().volumes[2].data[7 * BLOCK : 8 * BLOCK] == bytes(BLOCK)
    wire = [event for event in events(lab.log) if event["kind"] == "VolumeCopied"]
    assert [len(event["bitmap"]) for event in wire] == [first.bitmap_bytes, second.bitmap_bytes, restored.bitmap_bytes]


def test_reading_the_target_waits_for_the_site(lab: Lab, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else knows what the target holds; other volumes, and the target's later writes, are as ever."""
    group.volume("a").write(0, b"before")
    applied(lab, group)
    copied = group.copy_volume("a", "b")
    group.volume("a").write(0, b"after!")
    group.volume("b").write(3, b"own")
    assert group.volume("a").read(0, 6) == b"after!"
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.02)
    with pytest.raises(SiteBehind, match=f"reading needs {copied.sequence}"):
        group.volume("b").read(0, 6)
    lab.site.applied = copied.sequence
    assert group.volume("b").read(0, 6) == b"befown"


def test_a_site_that_does_not_come_so_far(lab: Lab, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the opening of this session, the source copy, or the last copy onto a volume: nothing is sent."""
    monkeypatch.setattr(volume_copy_module, "READ_TIMEOUT", 0.02)
    group.mark("m")
    before = len(lab.log._records)
    lab.site.applied = 0
    with pytest.raises(SiteBehind) as told:
        group.copy_volume("a", "b")
    assert "site run" in told.value.hint
    lab.site.applied = group.session.confirmed.sequence - 1
    with pytest.raises(SiteBehind):
        group.copy_volume("a", "b", "m")
    assert len(lab.log._records) == before
    first = group.copy_volume("a", "b")
    with pytest.raises(SiteBehind):
        group.copy_volume("b", "c")
    lab.site.applied = first.sequence
    group.copy_volume("b", "c")


def test_a_full_overlay_waits_for_the_site(lab: Lab) -> None:
    """What the session has forgotten of its own writes, the site must have applied."""
    group = lab.group(overlay_bytes=8 * KIB, batch_bytes=4 * KIB)
    for name in "ab":
        group.create_volume(name, 64 * KIB, BLOCK)
    applied(lab, group)
    for block in range(100):
        group.volume("a").write(block * BLOCK, b"x" * BLOCK)
    group.flush()
    asked: list[int] = []

    def on_read() -> None:
        asked.append(lab.site.applied)
        lab.site.applied = min(lab.site.applied + 10, group.session.confirmed.sequence)

    lab.site.on_read = on_read
    assert group.copy_volume("a", "b").blocks == 100
    assert len(asked) > 1


def test_what_is_written_in_the_last_moment(lab: Lab, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at what this session has written and the command: it comes before the command, and along."""
    overlay = group.session.overlay
    look = overlay.named
    moments = iter([b"last"])

    def looking(after: int, volumes: set[int], most: float = math.inf) -> Named | None:
        found = look(after, volumes, most)
        for data in moments:
            group.volume("a").write(5 * BLOCK, data)
        return found

    monkeypatch.setattr(overlay, "named", looking)
    assert group.copy_volume("a", "b").blocks == 1
    lab.reference()


@pytest.mark.timeout(120)
def test_writers_go_on_meanwhile(lab: Lab, group: Group) -> None:
    """Four threads write and two copy, each at its own pace; every copy in the log is whole."""
    ended = threading.Event()
    failed: list[BaseException] = []

    def site() -> None:
        while not ended.wait(0.003):
            lab.site.applied = group.session.confirmed.sequence

    def write(name: str, seed: int) -> None:
        random = Random(seed)
        for _ in range(300):
            group.volume(name).write(random.randrange(39) * BLOCK, random.randbytes(BLOCK))

    def copy(source: str, target: str) -> None:
        for _ in range(8):
            group.copy_volume(source, target)

    def run(work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    follower = threading.Thread(target=site)
    follower.start()
    work = [(write, "a", 1), (write, "a", 2), (write, "b", 3), (write, "c", 4), (copy, "a", "b"), (copy, "b", "c")]
    threads = [threading.Thread(target=run, args=arguments) for arguments in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    follower.join()
    group.flush()
    assert failed == []
    lab.reference()
    assert sum(event["kind"] == "VolumeCopied" for event in events(lab.log)) == 16


def test_what_changes_while_it_is_asked_for(lab: Lab, group: Group) -> None:
    """A target that shrinks, a source that goes, while the site is asked: looked at anew, refused, nothing sent."""
    group.volume("a").write(0, b"x")
    applied(lab, group)

    def shrink() -> None:
        lab.site.on_read = lambda: None
        group.volume("c").resize(10 * KIB)

    lab.site.on_read = shrink
    with pytest.raises(UsageError, match="do not fit"):
        group.copy_volume("a", "c")

    def delete() -> None:
        lab.site.on_read = lambda: None
        group.delete_volume("a")

    lab.site.on_read = delete
    with pytest.raises(NotFound):
        group.copy_volume("a", "b")
    assert not any(event["kind"] == "VolumeCopied" for event in events(lab.log))


def test_bad_input(lab: Lab, group: Group) -> None:
    """Each names what is wrong and what to do; nothing gets into the log."""
    group.create_volume("coarse", 20 * KIB, 1024)
    group.mark("m")
    group.delete_volume("a")
    group.create_volume("a", 20 * KIB, BLOCK)
    group.mark("gone")
    group.drop_copy("gone")
    applied(lab, group)
    before = len(lab.log._records)
    for error, told, arguments in (
        (UsageError, "onto itself", ("a", "a")),
        (UsageError, "do not fit", ("c", "b")),
        (UsageError, "do not fit", ("c", "b", "m")),
        (UsageError, "blocks of", ("coarse", "c")),
        (NotFound, "no volume 'x'", ("x", "b")),
        (NotFound, "no volume 'x'", ("b", "x")),
        (NotFound, "no copy 'x'", ("b", "c", "x")),
        (NotFound, "no copy 'gone'", ("b", "c", "gone")),
        (NotFound, "does not hold", ("a", "c", "m")),
    ):
        with pytest.raises(error, match=told) as caught:
            group.copy_volume(*arguments)
        assert caught.value.hint or "there are" in str(caught.value)
    assert len(lab.log._records) == before
    group.volume("b").resize(10 * KIB)
    applied(lab, group)
    with pytest.raises(UsageError, match="do not fit"):
        group.restore_volume("b", "m")


def test_a_bitmap_that_no_message_holds(lab: Lab, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the log, and the session goes on."""
    monkeypatch.setattr(block_bitmap, "MAX_PACKED_SIZE", 9)
    for block in (0, 9, 30):
        group.volume("a").write(block * BLOCK, b"x")
    applied(lab, group)
    with pytest.raises(UsageError, match="a message holds 9"):
        group.copy_volume("a", "b")
    group.volume("a").write(0, b"y")
    group.flush()
    assert lab.reference().volumes[2].data[0] == ord("y")


def test_a_fenced_session_copies_nothing(lab: Lab, group: Group) -> None:
    """It says so, and does not wait for the site first."""
    group.volume("a").write(0, b"x")
    applied(lab, group)
    lab.group()
    group.volume("a").write(0, b"y")
    with pytest.raises(Fenced):
        group.copy_volume("a", "b")
