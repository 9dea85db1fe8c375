"""docs/how-to/nbd.md: its commands, in order, as they stand, on real servers, with a file system mounted."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.operating import Command, Operator, operating
from tests.nbd.mounting import no_mounting
from tests.tools import tool
from tidelog.testing.servers import KafkaServing, RedisServing

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "nbd.md"
# What the page says of mounting a copy: as it is, and without its journal's replay.
MOUNTING_A_COPY = [
    "nbdfuse fuse/disk 'nbd+unix:///disk@nightly?socket=osaka.sock' &",
    "until [ -e fuse/disk ]; do sleep 0.1; done",
    "if mount -o loop,ro fuse/disk mounted; then exit 1; fi",
    "mount -o loop,ro,noload fuse/disk mounted",
    "umount mounted",
    "fusermount3 -u fuse",
]
# Where nothing can be mounted, in place of the block that does: a file system that was made in a file, copied in.
UNMOUNTED = [
    "truncate -s 64M made.img",
    "mkfs.ext4 -q -d /etc/ssl made.img",
    "nbdcopy --flush made.img 'nbd+unix:///disk?socket=bank.sock'",
    "tidelog pitc create nightly --group bank --in 1s --wait",
]
MAY_REPAIR = "e2fsck -y"  # says 1 if there was something in the journal

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A short folder for sockets, where `tidelog` is the command."""
    script = tmp_path / "bin" / "tidelog"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tidelog "$@"\n')
    script.chmod(0o755)
    yield tmp_path
    subprocess.run(["umount", tmp_path / "mounted"], capture_output=True, check=False)
    subprocess.run(["fusermount3", "-u", tmp_path / "fuse"], capture_output=True, check=False)


@contextmanager
def served(line: str, place: Path, env: dict[str, str]) -> Iterator[None]:
    server = Command(["sh", "-c", f"exec {line}"], cwd=place, env=env)
    try:
        server.reaches(lambda: b"nbd+unix" in server.err, line)
        yield
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(60) == 0, server.err
    finally:
        server.kill()


def blocks() -> list[list[str]]:
    found = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [block.splitlines() for block in found]


def test_the_page(place: Path, tidelog_kafka: KafkaServing, tidelog_site_redis: object) -> None:
    """Every block; each line must succeed. Where nothing can be mounted, all but the block that does."""
    for name in ("nbdinfo", "nbdcopy", "nbdfuse", "qemu-img", "mkfs.ext4", "e2fsck"):
        tool(name)
    mounts = no_mounting(place) is None
    assert callable(tidelog_site_redis)
    sites: dict[str, RedisServing] = {site: tidelog_site_redis(site) for site in ("tokyo", "osaka")}
    urls = {site: redis.url for site, redis in sites.items()}
    with operating(place, tidelog_kafka.bootstrap_servers, urls) as operator:
        _run_all(operator, place, mounts=mounts)


def _run_all(operator: Operator, place: Path, *, mounts: bool) -> None:
    source = Path(__file__).parents[2] / "src"
    env = os.environ | {
        "TIDELOG_CONFIG": str(operator.config),
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(source),
    }
    (group, volume), (serve,), listing, mounting, copying, restoring, mounting_there, dropping, bringing_back = blocks()
    _run([group], place, env)
    for site in operator.urls:
        operator.work(site)
    _run([volume], place, env)
    with served(serve, place, env):
        for block in (listing, mounting if mounts else UNMOUNTED, copying):
            _run(block, place, env)
        assert operator("volume", "create", "other", "-g", "bank", "--size", "1MiB").returncode == 13
        clone, serve_there, *rest = restoring
        _run([clone], place, env)
        with served(serve_there, place, env):
            for block in (rest, *((mounting_there, MOUNTING_A_COPY) if mounts else ()), dropping):
                _run(block, place, env)
    _run(bringing_back, place, env)


def _run(block: list[str], place: Path, env: dict[str, str]) -> None:
    """As a shell would, in which what was put into the background lives on."""
    script = "\n".join(f"{line} || [ $? -eq 1 ]" if line.startswith(MAY_REPAIR) else line for line in block)
    output = place / "output"
    with output.open("w") as file:
        done = subprocess.run(
            ["sh", "-exc", script], cwd=place, env=env, stdout=file, stderr=file, timeout=200, check=False
        )
    assert done.returncode == 0, output.read_text()
