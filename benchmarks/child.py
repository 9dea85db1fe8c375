"""A function in a process of its own: no other side's threads, garbage or settings, and nothing left behind."""

import os
import pickle
import select
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, ParamSpec, Self, TypeVar

from tidelog.testing.child import DIE_WITH_PARENT

ROOT = Path(__file__).resolve().parent.parent
# No measurement takes nearly as long; a child that hangs must not hold a run for ever.
TIMEOUT = 600.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_RESULT, _ERROR, _WORD = "result", "error", "word"


class ChildError(RuntimeError):
    """What went wrong in a child: its traceback."""


class Child(Generic[Result]):
    """Runs a module's function with pickled arguments; killed with its parent, or when the context is left early.

    While it runs, the function may `tell` things and `await_word`; the parent has `hear` and `say`.
    """

    def __init__(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> None:
        code = "from benchmarks.child import main; main()"
        launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self._process.pid
        self._send((function, arguments, named))

    def say(self, what: object = None) -> None:
        """Gives the word that the function awaits."""
        self._send(what)

    def hear(self, timeout: float = TIMEOUT) -> Any:
        """The next thing that the function tells."""
        return self._receive(_WORD, timeout)

    def result(self, timeout: float = TIMEOUT) -> Result:
        """What the function returns; the process has ended then. Raises `ChildError`."""
        found: Result = self._receive(_RESULT, timeout)
        self._process.wait(timeout)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(what, self._process.stdin)
        self._process.stdin.flush()

    def _receive(self, wanted: str, timeout: float) -> Any:
        pipe = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], timeout)
        if not ready:
            raise ChildError(f"said nothing for {timeout:.0f} s")
        try:
            kind, what = pickle.load(pipe)
        except EOFError:
            raise ChildError(f"ended with code {self._process.wait()}") from None
        if kind == _ERROR:
            raise ChildError(what)
        if kind != wanted:
            raise ChildError(f"gave a {kind} where a {wanted} was due")
        return what


def in_child(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """What ``function`` returns in a process of its own."""
    with Child(function, *arguments, **named) as child:
        return child.result()


_out: list[BinaryIO] = []


def tell(what: object = None) -> None:
    """In a child: tells the parent something, small enough for a pipe."""
    _dump((_WORD, what))


def await_word() -> Any:
    """In a child: what the parent says, when it does. Raises `EOFError` when the parent is gone."""
    return pickle.load(sys.stdin.buffer)


def main() -> None:
    """The child's side."""
    _out.append(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what is printed must not come between the messages
    try:
        function, arguments, named = pickle.load(sys.stdin.buffer)
        _dump((_RESULT, function(*arguments, **named)))
    except Exception:
        _dump((_ERROR, traceback.format_exc()))


def _dump(message: tuple[str, object]) -> None:
    pickle.dump(message, _out[0])
    _out[0].flush()
