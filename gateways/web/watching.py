"""The one who looks at Kafka for all pages: a thread of its own, since a look may take as long as Kafka does."""

import threading
import time
from collections.abc import Callable

from tidelog.consumers.deployment import Deployment
from tidelog.errors import TidelogError
from tidelog.gateways.standing.observer import Observed, Observer

LEFT_AFTER = 2.0


class Watcher:
    """Looks every ``interval`` seconds until stopped, and tells what it has seen, or why it could not see, on its own
    thread: ``looked``, ``failed``; and, within a look, that Kafka has answered: ``answered``."""

    def __init__(
        self,
        deployment: Deployment,
        only: str | None,
        interval: float,
        looked: Callable[[list[Observed]], None],
        failed: Callable[[TidelogError], None],
        answered: Callable[[], None],
    ) -> None:
        self._deployment, self._only, self._interval = deployment, only, interval
        self._looked, self._failed, self._answered = looked, failed, answered
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidelog-watcher", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the look that is under way; one that waits for Kafka is left, and nothing of it is told."""
        self._stop.set()
        self._thread.join(LEFT_AFTER)

    def _run(self) -> None:
        with Observer(self._deployment, self._only, self._answered) as observer:
            while not self._stop.is_set():
                began = time.monotonic()
                self._look(observer)
                self._stop.wait(max(0.0, self._interval - (time.monotonic() - began)))

    def _look(self, observer: Observer) -> None:
        try:
            observed = observer.observe()
            if not self._stop.is_set():
                self._looked(observed)
        except TidelogError as error:
            self._tell(error)
        except Exception as error:  # the page says it and goes on: an end that nobody sees would be worse
            self._tell(TidelogError(f"unexpected {type(error).__name__}: {error}", hint="this is a bug in tidelog"))

    def _tell(self, error: TidelogError) -> None:
        if not self._stop.is_set():
            self._failed(error)
