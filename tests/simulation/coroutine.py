"""Code that waits, run step by step: a function on a thread of its own that runs only while somebody resumes it.

At any moment exactly one thread runs, so that what happens depends on nothing but the order of the resumptions.
"""

import threading
from collections.abc import Callable


class Killed(BaseException):
    """Ends a coroutine that nobody will resume to its end."""


class _Runner(threading.Thread):
    """A thread that is kept for the next coroutine."""

    idle: "list[_Runner]" = []  # noqa: RUF012 (one pool for all)

    def __init__(self) -> None:
        super().__init__(daemon=True, name="simulation")
        self.go, self.back = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.back.acquire()
        self.job: Callable[[], None] = lambda: None
        self.start()

    def run(self) -> None:
        while True:
            self.go.acquire()
            self.job()
            self.back.release()


class Coroutine:
    """``function`` until its next `pause`, each time that it is resumed. ``result`` or ``error`` once it is done."""

    active: "Coroutine | None" = None

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._runner: _Runner | None = None
        self._killed = False
        self.done = False
        self.result: object = None
        self.error: Exception | None = None

    def resume(self) -> bool:
        """Runs it to its next pause; whether it is done."""
        if self.done:
            return True
        if self._runner is None:
            self._runner = _Runner.idle.pop() if _Runner.idle else _Runner()
            self._runner.job = self._run
        before, Coroutine.active = Coroutine.active, self
        self._runner.go.release()
        self._runner.back.acquire()
        Coroutine.active = before
        if self.done:
            _Runner.idle.append(self._runner)
            self._runner = None
        return self.done

    def kill(self) -> None:
        """Ends it where it stands, as a crash does."""
        self._killed = True
        if self._runner is None:
            self.done = True
        while not self.done:
            self.resume()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:
            self.error = error
        except Killed:
            pass
        finally:
            self.done = True

    def _pause(self) -> None:
        assert self._runner is not None
        if self._killed:  # it is already on its way out
            return
        self._runner.back.release()
        self._runner.go.acquire()
        if self._killed:
            raise Killed


def pause() -> None:
    """Lets others run, if this is inside a coroutine."""
    if Coroutine.active is not None:
        Coroutine.active._pause()
