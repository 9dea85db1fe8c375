"""A site with many groups: they stop together."""

import threading
import time

import pytest

from tests.consumers.conftest import Lab, until
from tests.consumers.test_worker import Shared
from tidelog.consumers.fetcher import Fetcher

GROUPS = [f"bank{number}" for number in range(12)]
SLOW = 0.3


@pytest.mark.parametrize("way", ["worker stops", "groups move away"])
def test_groups_stop_together(lab: Lab, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Twelve groups that take 0.3 s each to stop take much less than the sum."""
    real = Fetcher.close

    def close(fetcher: Fetcher) -> None:
        threading.Event().wait(SLOW)
        real(fetcher)

    monkeypatch.setattr(Fetcher, "close", close)
    for name in GROUPS:
        lab.cluster.create_group(name)
    membership = Shared(set(GROUPS))
    worker, thread = lab.worker(membership=lambda: membership)
    for name in GROUPS:
        until(lambda name=name: (found := lab.status(group=name)) and found.state == "STREAMING", name)
    began = time.monotonic()
    if way == "worker stops":
        worker.stop()
        thread.join()
        assert all((found := lab.status(group=name)) and found.state == "STOPPED" for name in GROUPS)
    else:
        membership.owns = set()
    until(lambda: not worker.replicas, "all stopped")
    assert time.monotonic() - began < len(GROUPS) * SLOW / 2
