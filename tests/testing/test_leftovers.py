"""What fails as a test's servers start or end leaves nothing of the others, and is told."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tidelog.consumers.deployment import MemoryDeployment
from tidelog.errors import UsageError
from tidelog.gateways.nbd import server
from tidelog.gateways.nbd.address import UnixAddress
from tidelog.testing import nbd as nbd_module
from tidelog.testing import running as running_module
from tidelog.testing.faults import FaultServers, FaultyNetwork, FaultySite
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import ServerError
from tidelog.testing.small_disk import SmallDisk

SETTINGS = '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[sites.tokyo.redis]\nurl = "redis://127.0.0.1:1"\n'


def fails(*_: object) -> None:
    raise ServerError("it did not end")


@pytest.fixture
def running() -> RunningDeployment:
    return RunningDeployment(MemoryDeployment())


def test_a_group_that_does_not_end_leaves_no_worker(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every worker is ended, and the deployment let go of, before it is told."""
    running.site("tokyo")
    group, (_, thread) = running.group("bank"), running._workers["tokyo"]
    monkeypatch.setattr(group, "abandon", lambda: (type(group).abandon(group), fails()))
    with pytest.raises(ServerError, match="did not end"):
        running.close()
    assert not thread.is_alive() and not running._workers


def test_a_worker_that_does_not_end_is_told(running: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name."""
    running.site("tokyo")
    worker, thread = running._workers["tokyo"]
    stop = worker.stop
    with monkeypatch.context() as patched:
        patched.setattr(running_module, "STOP_TIMEOUT", 0.01)
        patched.setattr(worker, "stop", lambda: None)
        with pytest.raises(ServerError, match="worker of tokyo did not end"):
            running.stop_site("tokyo")
    stop()
    thread.join(60)
    running.close()
    assert not thread.is_alive()


def test_a_network_that_is_not_healed_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' processes, clients and groups are ended all the same."""
    servers = SimpleNamespace(heal=fails, settings=lambda *_: SETTINGS)
    network = FaultyNetwork(cast(FaultServers, servers), tmp_path)
    ended: list[str] = []
    worker = SimpleNamespace(close=lambda: ended.append("worker"))
    nothing = cast(Any, None)
    network._sites["tokyo"] = FaultySite("tokyo", nothing, cast(Any, worker), nothing, nothing)
    network._views.append(cast(Any, SimpleNamespace(close=lambda: ended.append("view"))))
    monkeypatch.setattr(network._running, "close", lambda: (ended.append("groups"), fails()))
    with pytest.raises(ServerError, match="did not end"):
        network.close()
    assert sorted(ended) == ["groups", "view", "worker"]


def test_a_block_device_server_that_cannot_start_leaves_nothing(running: RunningDeployment, tmp_path: Path) -> None:
    """Neither its folder nor a connection to the store."""
    running.group("bank")
    address = UnixAddress(tmp_path / "none" / "nbd.sock")
    served = RunningNbd(running.deployment, "bank", "tokyo", address=address)
    with pytest.raises(UsageError), served:
        pass
    assert not Path(served._folder.name).exists()
    running.close()


def test_one_that_ends_as_it_starts_is_told(running: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not after a minute."""

    class Ends:
        def __init__(self, *_: object, **__: object) -> None:
            raise UsageError("it cannot be")

    running.group("bank")
    monkeypatch.setattr(nbd_module, "NbdServer", Ends)
    served = RunningNbd(running.deployment, "bank", "tokyo")
    with pytest.raises(UsageError, match="cannot be"):
        served.start()
    assert not served.running and not Path(served._folder.name).exists()
    running.close()


def test_one_that_does_not_end_is_told(running: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder and its name are gone all the same."""
    running.group("bank")
    served = RunningNbd(running.deployment, "bank", "tokyo")
    served.start()
    stop, thread, listening = server.NbdServer.stop, served._thread, served._listening
    assert listening is not None
    with monkeypatch.context() as patched:
        patched.setattr(nbd_module, "_ENDS_WITHIN_S", 0.01)
        patched.setattr(server.NbdServer, "stop", lambda _: None)
        patched.setattr(listening, "close", listening.leave)  # it still has the socket
        with pytest.raises(ServerError, match="did not end"):
            served.close()
    assert not Path(served._folder.name).exists()
    assert served._loop is not None and served._server is not None and thread is not None
    served._loop.call_soon_threadsafe(stop, served._server)
    thread.join(60)
    listening.close()
    assert not thread.is_alive()
    running.close()


def test_a_disk_that_fails_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error but ENOSPC is told."""
    disk = SmallDisk.__new__(SmallDisk)
    disk.path = tmp_path

    def write(_descriptor: int, _data: bytes) -> int:
        raise OSError(given, os.strerror(given))

    monkeypatch.setattr(os, "write", write)
    given = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        disk.fill()
    given = errno.ENOSPC
    disk.fill()
