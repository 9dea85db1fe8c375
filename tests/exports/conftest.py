"""A deployment in memory whose group has copies to take away."""

import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from tidelog.config import Config
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.gateways.exports.loading import import_exports, open_exports
from tidelog.gateways.exports.manifest import Manifest
from tidelog.gateways.exports.writing import write_export
from tidelog.producers.group import Group
from tidelog.stores.image import Store
from tidelog.stores.store import Copy
from tidelog.testing.ports import available_port
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka")
KIB = 1024
MOTO = Path(__file__).parents[2] / ".cache" / "moto" / "bin" / "python"


def ignore(_: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def deployment() -> MemoryDeployment:
    sites = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES}
    return MemoryDeployment(Config(sites=sites, worker={"status_interval": 0.05}, writer={"heartbeat": 60}))


@pytest.fixture
def running(deployment: MemoryDeployment) -> Iterator[RunningDeployment]:
    with RunningDeployment(deployment) as made:
        yield made


@pytest.fixture
def group(running: RunningDeployment) -> Group:
    """Three copies at tokyo; between them volumes are written, discarded, shrunk, created and deleted."""
    running.site("tokyo")
    opened = running.group("bank")
    ledger = opened.create_volume("ledger", 1024 * KIB)
    journal = opened.create_volume("journal", 40 * KIB + 100, block_size=512)
    gone = opened.create_volume("gone", 64 * KIB)
    opened.create_volume("empty", 64 * KIB)
    ledger.write(0, b"first" * 20_000)
    ledger.write(900 * KIB, b"far")
    journal.write(40 * KIB, b"the last block")
    gone.write(0, b"deleted later" * 100)
    opened.mark("one")
    ledger.write(8192, b"second" * 5000)
    ledger.discard(0, 8192)
    journal.resize(20 * KIB)
    opened.delete_volume("gone")
    opened.create_volume("late", 64 * KIB).write(5000, b"made between")
    opened.mark("two")
    ledger.write(8192, bytes(4096))
    journal.write(0, b"third" * 100)
    opened.mark("three")
    ledger.write(0, b"behind every copy")
    opened.flush()
    running.wait_for_store("tokyo", "bank")
    assert running.site("tokyo").group("bank").wait_until(opened.session.confirmed.sequence)
    return opened


@pytest.fixture
def store(group: Group, deployment: MemoryDeployment) -> Store:
    """Tokyo's store."""
    return open_store(deployment, "tokyo", group.name)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of a bucket: s3fs, the client that users have, over HTTP to moto's server (`make moto`). What is real is
    the protocol and its client; no provider's S3 is reached."""
    if not MOTO.exists():
        pytest.skip("there is no server that speaks S3: make moto")
    port = available_port()
    url = f"http://127.0.0.1:{port}"
    command = [MOTO, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "DEFAULT_REGION": "us-east-1"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(f"AWS_{name}", value)
            assert wait_until(lambda: answers(port), timeout_s=60)
            fsspec.filesystem("s3").mkdir("archive")
            yield "s3://archive"
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["path", "file", "memory", "s3"])
def place_for(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """A place by a name, on each kind of file system."""
    base = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4().hex}"}
    if request.param == "s3":
        base["s3"] = f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}"
    return lambda name: f"{base[request.param]}/{name}"


@pytest.fixture
def folder_for(tmp_path: Path) -> Callable[[str], str]:
    """A folder by a name, where the file system does not matter."""
    return lambda name: str(tmp_path / name)


@pytest.fixture
def export(store: Store) -> Callable[..., Manifest]:
    """``export("two", url, since="one")``."""

    def make(name: str, url: str, since: str | None = None) -> Manifest:
        return write_export(store, store.copy(name), url, None if since is None else store.copy(since), ignore)

    return make


@pytest.fixture
def bring(deployment: MemoryDeployment) -> Callable[..., Copy]:
    """``bring(url, ...)``: imports into osaka's store."""

    def load(*urls: str) -> Copy:
        return import_exports(deployment, "osaka", open_exports(urls, None), ignore)

    return load
