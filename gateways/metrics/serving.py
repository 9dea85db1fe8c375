"""A worker's metrics over HTTP, plain, for a scraper nearby: it knows neither tokens nor TLS."""

import socket
import threading

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app

from tidelog.consumers.worker import SiteWorker
from tidelog.errors import ConfigError
from tidelog.gateways.metrics.bounded import BoundedServer
from tidelog.gateways.metrics.of_worker import WorkerCollector


class WorkerMetrics:
    """Answers on ``host`` and ``port`` (0: any that is free) on threads of its own, few and none for long, until
    `close`.

    Raises `ConfigError` if that address cannot be had.
    """

    def __init__(self, worker: SiteWorker, host: str, port: int) -> None:
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        registry.register(WorkerCollector(worker))
        try:
            self._server = BoundedServer(host, port, make_wsgi_app(registry))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"metrics.listen: {host}:{port} cannot be listened on: {error}",
                hint="two workers on one machine need an address each; TIDELOG_METRICS__LISTEN gives one another",
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="tidelog-metrics", daemon=True)
        self._thread.start()
        shown = f"[{host}]" if self._server.address_family == socket.AF_INET6 else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Ends answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
