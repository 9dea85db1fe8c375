"""Taken away, checked, brought back: the same bytes, the same copy, and a fold that goes on."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.conftest import ignore
from tests.exports.programs import filled_store, new_store
from tidelog.clock import wall_us
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import AlreadyExists, NeedsRebuild, SiteBehind, UsageError
from tidelog.gateways.exports import blocks, loading
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.loading import open_exports
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of
from tidelog.gateways.exports.writing import write_export
from tidelog.producers.ordering import lead_seconds, order_copy
from tidelog.schemas.control import copy_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment


def check(url):
    place = place_of(url)
    return check_export(place, read_manifest(place), ignore)


def equal_stores(one, other, sequence):
    """Every copy of ``other`` from ``sequence`` on, and the live volumes, are those of ``one``."""
    assert other.position().head == one.position().head and other.volumes() == one.volumes()
    for copy in other.copies():
        there = one.copy(f"#{copy.sequence}")
        assert copy.sequence >= sequence
        assert other.verify(copy) == one.verify(there)
        assert (copy.name, copy.seal, copy.blocks_changed, copy.volumes) == (
            there.name,
            there.seal,
            there.blocks_changed,
            there.volumes,
        )
    for volume in other.volumes():
        assert other.read(volume, 0, volume.size) == one.read(volume, 0, volume.size)


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_there_and_back(store, running, deployment, export, bring, place_for, name):
    manifest = export(name, place_for("export"))
    assert not check(place_for("export")).problems
    held = bring(place_for("export"))
    assert held.head == store.copy(name).head and manifest.pitc.digest == store.digest(store.copy(name)).hex()
    osaka = open_store(deployment, "osaka", "bank")
    assert (osaka.rebuilding(), osaka.position().head) == (None, held.head)
    assert running.site("osaka").group("bank").wait_until(store.position().head.sequence)
    equal_stores(store, osaka, held.sequence)
    view = deployment.cluster.control
    keys = [copy_key("bank", held.sequence, held.name, site) for site in ("tokyo", "osaka")]
    assert view.wait_for(lambda found: {*keys} <= found.keys(), 10)
    receipts = [view.snapshot()[key] for key in keys]
    assert receipts[0].digest == receipts[1].digest and receipts[0].blocks_changed == receipts[1].blocks_changed


def test_a_copy_onto_a_volume_goes_on_after_an_import(store, running, deployment, export, bring, place_for):
    """The pairs of volumes come along: a site that begins from an export knows in which blocks two may differ, and
    takes the next, incremental copy like any other site."""
    opened = running.group("bank")
    opened.create_volume("target", opened.volume("ledger").size)
    opened.copy_volume("ledger", "target")
    opened.mark("paired")
    opened.flush()
    assert running.site("tokyo").group("bank").wait_until(opened.session.confirmed.sequence)
    assert read_pairs(store, "paired")
    export("paired", place_for("export"))
    bring(place_for("export"))
    opened.volume("ledger").write(0, b"changed since")
    opened.copy_volume("ledger", "target")
    opened.flush()
    for site in ("tokyo", "osaka"):
        assert running.site(site).group("bank").wait_until(opened.session.confirmed.sequence)
    osaka = open_store(deployment, "osaka", "bank")
    equal_stores(store, osaka, osaka.copies()[0].sequence)
    assert read_pairs(osaka, "paired") == read_pairs(store, "paired")


def read_pairs(store, name):
    return store.pairs(store.copy(name))


def test_a_copy_by_time_is_no_base(store, running, deployment, export, place_for):
    """It may end inside a write batch, where no site can go on from."""
    opened = running.group("bank")
    lead = lead_seconds(deployment.cluster)
    order_copy(deployment.cluster, "noon", ["bank"], wall_us() + round((lead + 0.2) * 1_000_000))
    assert wait_until(lambda: beaten(opened) and "noon" in {copy.name for copy in store.copies()}, timeout_s=30)
    export("noon", place_for("export"))
    with pytest.raises(UsageError, match="copy by time"):
        loading.import_exports(deployment, "osaka", open_exports([place_for("export")], None), ignore)


def beaten(opened):
    """Time passes in the group."""
    opened.volume("ledger").write(0, b"x")
    opened.flush()
    return True


def test_a_whole_one_and_what_changed_since(store, running, deployment, export, bring, place_for):
    """Blocks that went, a volume that shrank, one that was deleted and one that was made in between."""
    export("one", place_for("1"))
    small = export("two", place_for("2"), since="one")
    export("three", place_for("3"), since="two")
    assert [check(place_for(name)).problems for name in "123"] == [[], [], []]
    assert (small.since.sequence, small.since.seal) == (store.copy("one").sequence, store.copy("one").seal.hex())
    assert sum(file.blocks for _, file in small.files) < 60
    held = bring(*map(place_for, "123"))
    assert held.sequence == store.copy("three").sequence
    assert running.site("osaka").group("bank").wait_until(store.position().head.sequence)
    equal_stores(store, open_store(deployment, "osaka", "bank"), held.sequence)


def test_exports_must_follow_each_other(export, folder_for):
    export("one", folder_for("1"))
    export("two", folder_for("2"), since="one")
    export("three", folder_for("3"), since="two")
    for wrong, says in (("2", "name an export of that copy first"), ("13", "goes on from copy two"), ("11", "alone")):
        with pytest.raises(UsageError) as refused:
            open_exports(list(map(folder_for, wrong)), None)
        assert says in f"{refused.value} {refused.value.hint}"
    with pytest.raises(UsageError, match="not older"):
        export("one", folder_for("4"), since="two")


def test_many_files_a_volume(export, bring, folder_for, store, monkeypatch):
    monkeypatch.setattr(blocks, "FILE_BYTES_MIN", 1)
    monkeypatch.setattr(blocks, "FILES", 1 << 40)
    monkeypatch.setattr("tidelog.stores.contents.WINDOW_BYTES", 16 * 4096)
    monkeypatch.setattr("tidelog.stores.named.SPAN_WINDOWS", 1)
    manifest = export("one", folder_for("export"))
    (ledger,) = (volume for volume in manifest.volumes if volume.name == "ledger")
    assert [file.name for file in ledger.files] == ["ledger.0000.avro", "ledger.0001.avro", "ledger.0002.avro"]
    assert not check(folder_for("export")).problems
    assert bring(folder_for("export")).sequence == store.copy("one").sequence


def test_zeros_take_no_room_in_a_whole_export(export, folder_for):
    manifest = export("three", folder_for("export"))
    held = {volume.name: sum(file.blocks for file in volume.files) for volume in manifest.volumes}
    assert held == {"ledger": 23, "journal": 1, "empty": 0, "late": 1}


def test_an_export_that_was_imported_can_be_exported_again(deployment, export, bring, folder_for):
    first = export("two", folder_for("export"))
    bring(folder_for("export"))
    osaka = open_store(deployment, "osaka", "bank")
    again = write_export(osaka, osaka.copy("two"), folder_for("again"), None, ignore)
    assert again.pitc == first.pitc
    assert [volume.digest for volume in again.volumes] == [volume.digest for volume in first.volumes]


def test_an_import_that_was_cut_short_is_not_served_and_can_be_run_again(
    store, running, deployment, export, bring, place_for
):
    export("two", place_for("export"))
    files = len(read_manifest(place_of(place_for("export"))).files)
    for limit in range(2 * files + 1, 4 * files + 3):
        told = iter(range(limit))

        def cut_short(_: int, told: Iterator[int] = told) -> None:
            if next(told, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loading.import_exports(deployment, "osaka", open_exports([place_for("export")], None), cut_short)
        osaka = open_store(deployment, "osaka", "bank")
        with pytest.raises((NeedsRebuild, SiteBehind)):
            osaka.read(store.copy("two").volumes[0], 0, 1)
        assert osaka.rebuilding() is not None
    held = bring(place_for("export"))
    assert running.site("osaka").group("bank").wait_until(store.position().head.sequence)
    equal_stores(store, open_store(deployment, "osaka", "bank"), held.sequence)


def test_a_worker_that_could_not_begin_goes_on_from_the_import(store, deployment, export, bring, folder_for):
    """The log was trimmed, so the site needs a base; its worker halts, and sees by itself when there is one."""
    export("two", folder_for("export"))
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    log.trim(store.copy("two").offset)
    worker = SiteWorker(deployment, "osaka", SoleWorker)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        assert wait_until(lambda: "bank" in worker.statuses and worker.statuses["bank"].state == "NEEDS_REBUILD", 10)
        held = bring(folder_for("export"))
        osaka = open_store(deployment, "osaka", "bank")
        assert wait_until(lambda: osaka.position().head == store.position().head, timeout_s=10)
        equal_stores(store, osaka, held.sequence)
    finally:
        worker.stop()
        thread.join(20)


def test_a_worker_that_lost_its_store_goes_on_from_an_import_of_where_it_stood(
    group, store, deployment, export, bring, folder_for
):
    """The copy's position is the very one at which the worker had halted."""
    group.mark("last")
    assert wait_until(lambda: any(copy.name == "last" for copy in store.copies()), 10)
    export("last", folder_for("export"))
    worker = SiteWorker(deployment, "osaka", SoleWorker)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        last = store.copy("last").sequence
        assert wait_until(lambda: "bank" in worker.statuses and worker.statuses["bank"].sequence == last, 10)
        deployment.keyspace("osaka", "bank").data.clear()
        assert wait_until(lambda: worker.statuses["bank"].state == "NEEDS_REBUILD", 10)
        bring(folder_for("export"))
        group.mark("behind")
        osaka = open_store(deployment, "osaka", "bank")
        assert wait_until(lambda: any(copy.name == "behind" for copy in osaka.copies()), timeout_s=10)
    finally:
        worker.stop()
        thread.join(20)


def test_another_log_is_the_workers_matter(export, deployment, folder_for):
    """The group is the same by its id, and its log holds nothing of it."""
    export("two", folder_for("export"))
    other = MemoryDeployment(deployment.config)
    other.cluster.create_group("bank")
    held = loading.import_exports(other, "osaka", open_exports([folder_for("export")], None), ignore)
    with RunningDeployment(other) as running:
        group = running.site("osaka").group("bank")
        worker, _ = running._workers["osaka"]
        assert wait_until(lambda: "bank" in worker.statuses and worker.statuses["bank"].state == "HALTED", 10)
        assert worker.statuses["bank"].reason.startswith("LogDiverged") and group.position.head == held.head


def test_a_store_that_is_not_empty_is_refused(store, export, bring, folder_for, running):
    export("two", folder_for("export"))
    running.wait_for_store("osaka", "bank")
    assert running.site("osaka").group("bank").wait_until(2)
    with pytest.raises(AlreadyExists, match="not empty"):
        bring(folder_for("export"))
    assert running.site("osaka").group("bank").wait_until(store.position().head.sequence)


def test_another_groups_export_is_refused(export, folder_for, deployment):
    export("two", folder_for("export"))
    with pytest.raises(UsageError, match="not orders"):
        open_exports([folder_for("export")], "orders")
    found = open_exports([folder_for("export")], "bank")
    other = MemoryDeployment(deployment.config.model_copy(update={"prefix": "another"}))
    other.cluster.create_group("bank")
    with pytest.raises(UsageError, match="another group bank"):
        loading.import_exports(other, "osaka", found, ignore)


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 11), st.sampled_from([b"a" * 512, b"b" * 100, bytes(512)])),
    st.tuples(st.just("discard"), st.integers(0, 11), st.integers(1, 6)),
    st.tuples(st.just("resize"), st.integers(1, 12), st.none()),
    st.tuples(st.just("cut"), st.none(), st.none()),
    st.tuples(st.just("drop"), st.integers(0, 4), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(program=st.lists(steps, max_size=25), data=st.data())
def test_any_chain_of_exports_is_the_copy(program, data):
    """Whatever was written, shrunk, cut and dropped: a whole export and any --since ones give the last one's blocks."""
    store = filled_store(program)
    copies = store.copies()
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(copies))), min_size=1, max_size=3)))
    base, urls, since = f"memory://{uuid.uuid4().hex}", [], None
    for number in chosen:
        urls.append(f"{base}/{number}")
        write_export(store, copies[number], urls[-1], since, ignore)
        assert not check(urls[-1]).problems
        since = copies[number]
    target = new_store()
    held = loading._load(target, open_exports(urls, None), ignore)
    assert target.verify(held) == store.verify(since)
    for volume in since.volumes:
        expected = store.read(volume, 0, volume.size, since)
        assert target.read(volume, 0, volume.size) == target.read(volume, 0, volume.size, held) == expected
