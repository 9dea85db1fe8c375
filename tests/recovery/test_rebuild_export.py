"""A primary that began from an export: what it ships in a copy onto a volume is enough for all other sites."""

from pathlib import Path

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tidelog.gateways.exports.bases import ExportBases
from tidelog.gateways.exports.loading import import_exports, open_exports
from tidelog.gateways.exports.writing import write_export
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey

SITES = ("tokyo", "osaka")


@pytest.mark.parametrize("way", ["rebuild", "import"])
def test_blocks_of_zeros_count_as_named(tmp_path: Path, way: str) -> None:
    """What was written and discarded is in no file of an export, and may differ all the same."""
    lab = Lab()
    try:
        workers = {site: lab.worker(site)[0] for site in SITES}
        group = lab.group("tokyo")
        volumes = [group.create_volume(name, 64 * KIB, block_size=512) for name in ("a", "b")]
        volumes[0].write(0, b"A" * 8192)
        volumes[0].discard(1024, 4096)
        volumes[1].write(0, b"x" * 512)
        group.mark("one")
        group.close()
        for site in SITES:
            lab.caught_up(site)
            until(lambda site=site: all(lab.receipt(one, site) for one in lab.reference().copies), "receipts")
        place, store = str(tmp_path / "export"), lab.store("tokyo")
        write_export(store, store.copy("one"), place, None, lambda _: None)
        workers["tokyo"].stop()
        for _ in store.erase():
            pass
        if way == "import":
            import_exports(lab.deployment, "tokyo", open_exports([place], "bank"), lambda _: None)
        else:
            bases = ExportBases()
            plan = plan_rebuild(survey(lab.deployment, "tokyo", "bank", Wanted(place), bases))
            for _ in Rebuild(lab.deployment, plan, bases):
                pass
        lab.worker("tokyo")
        until(lambda: lab.status("tokyo").state == "STREAMING", "tokyo streams")
        group = lab.group("tokyo")
        group.copy_volume("a", "b")
        last = group.session.confirmed.sequence
        until(lambda: all(lab.store(site).position().head.sequence >= last for site in SITES), "both sites")
        images = {lab.store(site).read(lab.store(site).volume("b"), 0, 64 * KIB) for site in SITES}
        assert len(images) == 1
    finally:
        lab.end()
