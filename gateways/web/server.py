"""The server, on a thread of its own: uvicorn, with limits."""

import asyncio
import threading
import time
from types import TracebackType
from typing import Self

import uvicorn

from tidelog.consumers.deployment import Deployment
from tidelog.errors import TidelogError
from tidelog.gateways.web.application import application
from tidelog.gateways.web.board import Board
from tidelog.gateways.web.connection import HEAD_BYTES_MAX, IDLE_SECONDS, PatientConnection
from tidelog.gateways.web.door import Server
from tidelog.gateways.web.events import CLIENTS_MAX, Events
from tidelog.gateways.web.serving import Serving, bind, check_tls

START_SECONDS = 30.0
STOP_SECONDS = 30.0
LAST_ANSWERS_SECONDS = 2


class HttpServer:
    """Serves from `start` to `stop`. `start` raises `UsageError` and `ConfigError`."""

    def __init__(
        self, deployment: Deployment, serving: Serving, only: str | None = None, *, clients_max: int = CLIENTS_MAX
    ) -> None:
        self._serving = serving
        access = serving.access()
        self.board = Board(serving.http.interval, guarded=access.guarded)
        self.events = Events(self.board, clients_max)
        app = application(deployment, access, self.board, self.events, only)
        password = serving.http.tls_password
        self._uvicorn = Server(
            uvicorn.Config(
                app,
                http=PatientConnection,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
                ssl_certfile=serving.http.tls_certfile,
                ssl_keyfile=serving.http.tls_keyfile,
                ssl_keyfile_password=password.get_secret_value() if password is not None else None,
            )
        )
        self._thread = threading.Thread(target=self._run, name="tidelog-http", daemon=True)
        self._error: BaseException | None = None
        self.port = serving.port

    @property
    def url(self) -> str:
        """Of the page."""
        return self._serving.url(self.port)

    @property
    def running(self) -> bool:
        """Until it was stopped, or has ended by itself, which is an error that `stop` raises."""
        return self._thread.is_alive()

    @property
    def connections(self) -> int:
        """How many there are, those apart that have not finished TLS."""
        return len(self._uvicorn.server_state.connections)

    def start(self) -> None:
        """Returns when it answers."""
        check_tls(self._serving)
        self._socket = self._uvicorn.listening = bind(self._serving)
        self.port = self._socket.getsockname()[1]
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._uvicorn.started and self.running and time.monotonic() < deadline:
            time.sleep(0.005)
        if not self._uvicorn.started:
            self.stop()
            raise TidelogError(f"the server has not started within {START_SECONDS:g} s")

    def stop(self) -> None:
        """Answers what is being asked, ends every stream of events, and returns. Raises what it has ended with."""
        self.board.stop()
        self._uvicorn.should_exit = True
        self._thread.join(STOP_SECONDS)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._uvicorn.serve())
        except BaseException as error:  # raised again by `stop`
            self._error = error
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
