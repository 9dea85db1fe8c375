"""Since when a site lacks something, as an observer remembers it: over a log that has lost its end, too."""

from tidelog.config import Config
from tidelog.consumers.deployment import MemoryDeployment
from tidelog.gateways.standing.observer import Observer
from tidelog.producers.memory_log import MemoryLog
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

CONFIG = Config(
    sites={"tokyo": {"redis": {"url": "redis://memory"}}},
    worker={"status_interval": 0.05, "poll_timeout": 0.01},
    writer={"heartbeat": 0.05},
)


def test_a_log_that_was_cut_back_behind_what_was_seen() -> None:
    """Another session writes where there were heartbeats alone: what was passed over then is looked at again."""
    with RunningDeployment(MemoryDeployment(CONFIG)) as running, Observer(running.deployment, "bank") as observer:
        group = running.group("bank")
        running.site("tokyo")
        running.wait_for_store("tokyo", "bank")
        group.create_volume("ledger", 1 << 20).write(0, b"a")
        group.flush(applied_at=1)
        running.stop_site("tokyo")
        log = running.deployment.cluster.log(running.deployment.cluster.find_group("bank"))
        assert isinstance(log, MemoryLog)
        kept = log.bounds().end
        assert wait_until(lambda: log.bounds().end > kept + 20, 60)
        assert observer.observe()[0].exposures["tokyo"].not_applied == 0
        seen = log.bounds().end
        group.abandon()
        log.truncate(kept, noticed=False)
        again = running.group("bank")
        again.volume("ledger").write(0, b"b")
        again.flush()
        assert wait_until(lambda: log.bounds().end > seen + 5, 60)
        assert (observer.observe()[0].exposures["tokyo"].not_applied or 0) > 0
