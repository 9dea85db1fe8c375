"""`tidelog site run`: a site worker as a process of its own."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from tidelog.clock import iso, wall_us
from tidelog.config import Config
from tidelog.config_metrics import parse_address
from tidelog.consumers.kafka_membership import KafkaMembership
from tidelog.consumers.membership import Membership, SoleWorker
from tidelog.consumers.process_settings import set_for_worker
from tidelog.consumers.worker import SiteWorker
from tidelog.gateways.cli.exit_codes import INTERRUPTED, OK
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.metrics import metrics_missing
from tidelog.gateways.cli.notifying import WorkerNotices
from tidelog.gateways.cli.output import seconds_text
from tidelog.gateways.exports.archiving import archiving
from tidelog.schemas.control import SiteStatus

_LOOK_AGAIN = 0.1
_WITHOUT_KAFKA = 2.0
_NAMED = 6  # groups in one line


def run_worker(invocation: Invocation, site: str, groups: Iterable[str], *, sole: bool) -> int:
    """Serves until SIGTERM (exit code 0) or SIGINT (130), then ends after the transaction that is on its way."""
    config = invocation.config

    def membership() -> Membership:
        return SoleWorker() if sole else _kafka_membership(config, site)

    archive = archiving(invocation.deployment.cluster.control, invocation.config.sites)
    worker = SiteWorker(invocation.deployment, site, membership, groups, archive)
    set_for_worker()
    with _metrics(invocation, worker):
        return WorkerProcess(invocation, worker).serve()


@contextmanager
def _metrics(invocation: Invocation, worker: SiteWorker) -> Iterator[None]:
    """Answers a scraper meanwhile, if an address is configured for that. Raises `ConfigError`."""
    listen = invocation.config.metrics.listen
    if listen is None:
        yield
        return
    address = parse_address(listen)
    try:
        from tidelog.gateways.metrics.serving import WorkerMetrics
    except ModuleNotFoundError as error:
        raise metrics_missing(error) from None
    metrics = WorkerMetrics(worker, address.host, address.port)
    try:
        invocation.say(f"{iso(wall_us())} metrics of site {worker.site} at {metrics.url}")
        yield
    finally:
        metrics.close()


def _kafka_membership(config: Config, site: str) -> Membership:
    return KafkaMembership(config, site)


class WorkerProcess:
    """Runs a worker on a thread, so that a signal's handler never meets a lock that it interrupted, and says on stderr
    what changes: one line a change of state; one when Kafka goes away and one when it is back, however often it is
    asked meanwhile."""

    def __init__(self, invocation: Invocation, worker: SiteWorker) -> None:
        self._invocation, self._worker = invocation, worker
        self._notices = WorkerNotices(worker)
        self._signal: int | None = None
        self._error: BaseException | None = None
        self._said: dict[str, tuple[str, str]] = {}
        self._away_since: float | None = None

    def serve(self) -> int:
        """The exit code. Raises what ended the worker, if it was not a signal."""
        self._log(f"worker of site {self._worker.site} starts")
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        thread = threading.Thread(target=self._run, name="tidelog-worker", daemon=True)
        try:
            thread.start()
            while thread.is_alive() and self._signal is None:
                self._report()
                self._notices.look()
                time.sleep(_LOOK_AGAIN)
        finally:
            self._notices.stop()
            # From here on a second signal ends the process at once.
            for number, handler in before.items():
                signal.signal(number, handler)
            self._worker.stop()
        if self._signal is not None:
            self._log(f"{signal.Signals(self._signal).name}: stopping")
        self._await_end(thread)
        self._report()
        if self._error is not None:
            raise self._error
        self._log(f"worker of site {self._worker.site} has stopped")
        if self._signal == signal.SIGINT:
            return INTERRUPTED
        return OK

    def _await_end(self, thread: threading.Thread) -> None:
        """Until the worker has ended. Without Kafka it only waits for that, on connections that take their time, so it
        is left after `_WITHOUT_KAFKA`: whenever the process ends, a transaction is in the store as a whole, or not."""
        told = time.monotonic()
        while thread.is_alive():
            thread.join(_LOOK_AGAIN)
            late = time.monotonic() - told > _WITHOUT_KAFKA
            if self._worker.unreachable is not None and (late or not self._worker.replicas):
                return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._signal = number

    def _run(self) -> None:
        try:
            self._worker.run()
        except BaseException as error:  # raised again by `serve`, in the main thread
            self._error = error

    def _report(self) -> None:
        for group, status in sorted(self._worker.statuses.items()):
            now = (status.state, status.reason)
            if self._said.get(group) != now:
                self._said[group] = now
                self._log(_line(status))
        unreachable = self._worker.unreachable
        if unreachable is not None and self._away_since is None:
            self._away_since = time.monotonic()
            hint = f" (hint: {unreachable.hint})" if unreachable.hint else ""
            self._log(f"waiting: {unreachable}{hint}{self._held()}")
        elif unreachable is None and self._away_since is not None:
            away, self._away_since = time.monotonic() - self._away_since, None
            self._log(f"reachable again, after {seconds_text(away)}")

    def _held(self) -> str:
        """What waits with the worker, while Kafka is away."""
        if self._signal is not None:
            return ""
        groups = sorted(self._worker.replicas.items())
        stand = ((group, replica.progress(0).head.sequence) for group, replica in groups[:_NAMED])
        held = ", ".join(f"{group} at sequence {sequence}" for group, sequence in stand)
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        return f"; it goes on by itself: {held}{more}" if held else "; it goes on by itself"

    def _log(self, text: str) -> None:
        line = " ".join(text.split())
        self._notices.say(line)
        self._invocation.say(f"{iso(wall_us())} {line}")


def _line(status: SiteStatus) -> str:
    why = f": {status.reason}" if status.reason else ""
    hint = f" (hint: {for_operators(status.hint, status.group)})" if status.reason and status.hint else ""
    return f"{status.group} at {status.site}: {status.shown_state} at sequence {status.sequence}{why}{hint}"
