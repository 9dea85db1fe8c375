"""Programs that others have written, as users have them, on a real Kafka and a real Redis: libnbd's, qemu's and fio."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.tools import tool
from tidelog.producers.group import Group
from tidelog.testing.fixtures import SiteFactory
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers

MIB = 1 << 20
SIZE = 16 * MIB


def run(name: str, *arguments: str | Path) -> str:
    """What a program says that must succeed."""
    done = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def sparse_file(path: Path, seed: int = 1) -> Path:
    """Some data at odd places, holes elsewhere."""
    rnd = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for _ in range(12):
            file.seek(rnd.randrange(SIZE // 4096 - 64) * 4096)
            file.write(rnd.randbytes(rnd.randint(1, 200_000)))
    return path


def test_what_nbdinfo_tells(tidelog_nbd: RunningNbd, tidelog_group: Group) -> None:
    """Of a live volume, of its copy: sizes, abilities, and a name for each."""
    tidelog_group.create_volume("ledger", SIZE).write(0, b"x")
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    found = json.loads(run("nbdinfo", "--json", "--list", tidelog_nbd.uri("")))
    live, copy = found["exports"]
    assert (live["export-name"], copy["export-name"]) == ("ledger", "ledger@nightly")
    for export in (live, copy):
        assert export["export-size"] == SIZE and export["can_multi_conn"] and export["contexts"] == ["base:allocation"]
        assert (export["block_size_minimum"], export["block_size_preferred"]) == (1, 4096)
    assert not live["is_read_only"] and live["can_flush"] and live["can_fua"] and live["can_trim"] and live["can_zero"]
    assert copy["is_read_only"] and not copy["can_zero"]
    assert run("nbdinfo", "--size", tidelog_nbd.uri("ledger@nightly")).strip() == str(SIZE)


def test_nbdcopy_both_ways(tidelog_nbd: RunningNbd, tidelog_group: Group, tmp_path: Path) -> None:
    """A file into a volume, over four connections at once; its copy out again, the same, with the same holes."""
    source, back = sparse_file(tmp_path / "source.img"), tmp_path / "back.img"
    tidelog_group.create_volume("ledger", SIZE)
    run("nbdcopy", "--flush", source, tidelog_nbd.uri("ledger"))
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    run("nbdcopy", "--flush", sparse_file(tmp_path / "other.img", seed=2), tidelog_nbd.uri("ledger"))
    run("nbdcopy", tidelog_nbd.uri("ledger@nightly"), back)
    assert back.read_bytes() == source.read_bytes()
    assert back.stat().st_blocks * 512 < SIZE // 4


def test_holes_are_not_read(tidelog_nbd: RunningNbd, tidelog_group: Group, tmp_path: Path) -> None:
    """A thin volume of a TiB with 64 KiB in it is copied in no time, since nbdcopy and qemu-img skip what is none."""
    thin = tidelog_group.create_volume("thin", "1TiB")
    thin.write(512 << 20, b"here" * 16384)
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    for export in ("thin", "thin@nightly"):
        extents = json.loads(run("nbdinfo", "--json", "--map", tidelog_nbd.uri(export)))
        data = [(extent["offset"], extent["length"]) for extent in extents if extent["type"] == 0]
        assert data == [(512 << 20, 65536)]
    back, image = tmp_path / "back.img", tmp_path / "back.qcow2"
    run("nbdcopy", tidelog_nbd.uri("thin@nightly"), back)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", tidelog_nbd.uri("thin@nightly"), image)
    for copied in (back, image):
        assert copied.stat().st_blocks * 512 < 4 * MIB
    with back.open("rb") as file:
        file.seek(512 << 20)
        assert file.read(65537) == b"here" * 16384 + b"\0"


def test_what_qemu_img_makes_of_it(tidelog_nbd: RunningNbd, tidelog_group: Group, tmp_path: Path) -> None:
    """Converted out and in again, checked and compared; a difference is found."""
    source, image = sparse_file(tmp_path / "source.img"), tmp_path / "image.qcow2"
    ledger, other = (tidelog_group.create_volume(name, SIZE) for name in ("ledger", "other"))
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, tidelog_nbd.uri("ledger"))
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", tidelog_nbd.uri("ledger@nightly"), image)
    run("qemu-img", "check", image)
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, image)
    run("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", image, tidelog_nbd.uri("other"))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", tidelog_nbd.uri("other"), tidelog_nbd.uri("ledger@nightly"))
    assert other.read(0, SIZE) == ledger.read(0, SIZE) == source.read_bytes()
    other.write(12345, b"else")
    compare = ("compare", "-f", "raw", "-F", "raw", tidelog_nbd.uri("other"), tidelog_nbd.uri("ledger@nightly"))
    assert subprocess.run([tool("qemu-img"), *compare], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("export", ["ledger", "ledger@clone:drill"])
def test_fio_verifies_what_it_wrote(
    tidelog_nbd: RunningNbd, tidelog_group: Group, tidelog_site: SiteFactory, export: str
) -> None:
    """Random writes of several sizes, 16 in flight, with flushes between, read back by checksum."""
    tidelog_group.create_volume("ledger", SIZE)
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    tidelog_site("tokyo").group(tidelog_group.name).create_clone("nightly", "drill")
    job = {
        "name": "verify",
        "ioengine": "nbd",
        "uri": tidelog_nbd.uri(export),
        "rw": "randwrite",
        "bsrange": "512-64k",
        "blockalign": "512",
        "size": str(SIZE),
        "iodepth": "16",
        "fsync": "16",
        "verify": "crc32c",
        "verify_fatal": "1",
        "verify_state_save": "0",
        "randseed": "7",
        "output-format": "json",
    }
    said = run("fio", *(f"--{name}={value}" for name, value in job.items()))
    (result,) = json.loads(said[said.index("{") :])["jobs"]
    assert result["error"] == 0
    assert result["write"]["io_bytes"] >= SIZE // 2 and result["read"]["io_bytes"] == result["write"]["io_bytes"]


def test_another_site_serves_the_same_copies(
    tidelog_nbd: RunningNbd,
    tidelog_group: Group,
    tidelog_site: SiteFactory,
    tidelog_deployment: RunningDeployment,
    tmp_path: Path,
) -> None:
    """What was written here by nbdcopy is read there, byte for byte, by a server that has no writer session; a clone of
    it can be written to, and changes no copy."""
    source = sparse_file(tmp_path / "source.img")
    tidelog_group.create_volume("ledger", SIZE)
    run("nbdcopy", source, tidelog_nbd.uri("ledger"))
    tidelog_deployment.wait_for_store("osaka", tidelog_group.name, timeout=60)
    tokyo, osaka = (tidelog_site(site).group(tidelog_group.name) for site in ("tokyo", "osaka"))
    tidelog_group.mark("nightly").wait(sites=["tokyo", "osaka"])
    osaka.create_clone("nightly", "drill")
    digest = osaka.copy("nightly").digest()
    with RunningNbd(tidelog_deployment.deployment, tidelog_group.name, "osaka") as there:
        names = [one["export-name"] for one in json.loads(run("nbdinfo", "--json", "--list", there.uri("")))["exports"]]
        assert names == ["ledger@nightly", "ledger@clone:drill"]
        compare = ("compare", "-f", "raw", "-F", "raw", str(source))
        run("qemu-img", *compare, there.uri("ledger@nightly"))
        run("nbdcopy", sparse_file(tmp_path / "other.img", seed=3), there.uri("ledger@clone:drill"))
        run("qemu-img", *compare, there.uri("ledger@nightly"))
    assert osaka.copy("nightly").digest() == digest == tokyo.copy("nightly").digest()


def test_a_read_only_server_writes_nothing(
    tidelog_group: Group, tidelog_site: SiteFactory, tidelog_deployment: RunningDeployment
) -> None:
    """Not even to clones; and nobody's session is fenced by it."""
    tidelog_group.create_volume("ledger", SIZE)
    tidelog_group.mark("nightly").wait(sites=["tokyo"])
    tidelog_site("tokyo").group(tidelog_group.name).create_clone("nightly", "drill")
    with RunningNbd(tidelog_deployment.deployment, tidelog_group.name, "tokyo", read_only=True) as server:
        found = json.loads(run("nbdinfo", "--json", "--list", server.uri("")))["exports"]
        assert {one["export-name"]: one["is_read_only"] for one in found} == {
            "ledger@nightly": True,
            "ledger@clone:drill": True,
        }
        refused = subprocess.run([tool("nbdinfo"), server.uri("ledger")], capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        refused = subprocess.run(
            [tool("nbdcopy"), os.devnull, server.uri("ledger@clone:drill")], capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
    tidelog_group.flush()
