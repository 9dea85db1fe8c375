"""Running a command line: every way in which one can end becomes an exit code, and never a traceback."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence

import typer
from rich.text import Text
from typer.exceptions import TyperException

from tidelog.errors import TidelogError
from tidelog.gateways.cli.application import app
from tidelog.gateways.cli.exit_codes import FAILURE, INTERRUPTED, NAGIOS, OK, USAGE
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.cli.invocation import Invocation, OpenDeployment
from tidelog.termination import interrupt_on_sigterm


def run(argv: Sequence[str] | None, open_deployment: OpenDeployment | None) -> int:
    """The exit code of one command line. Raises KeyboardInterrupt at most if interrupted twice."""
    invocation = Invocation(open_deployment)
    with interrupt_on_sigterm():  # `site run` has a handler of its own inside
        code = _ended(invocation, lambda: _command(argv, invocation))
        closed = _ended(invocation, lambda: _close(invocation))
    return code or closed


def _command(argv: Sequence[str] | None, invocation: Invocation) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    invocation.arguments, invocation.own_process = tuple(arguments), argv is None
    result = typer.main.get_command(app).main(
        args=arguments, prog_name="tidelog", standalone_mode=False, obj=invocation
    )
    sys.stdout.flush()
    if result == INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else OK


def _close(invocation: Invocation) -> int:
    invocation.close()
    return OK


def _ended(invocation: Invocation, action: Callable[[], int]) -> int:
    try:
        return action()
    except TidelogError as error:
        _tell(invocation, error, str(error), for_operators(error.hint, error.group))
        return error.exit_code
    except TyperException as error:
        return _usage(invocation, error)
    except (KeyboardInterrupt, typer.Abort):
        invocation.say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does. Python would complain at exit when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except OSError as error:
        _tell(invocation, error, f"{error.filename}: {error.strerror}" if error.filename else str(error), "")
        return FAILURE
    except Exception as error:
        hint = "this is a bug in tidelog; please report it with what `tidelog --traceback ...` shows"
        _tell(invocation, error, f"unexpected {type(error).__name__}: {error}", hint)
        return FAILURE


def _usage(invocation: Invocation, error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        return USAGE  # making this error has printed the help
    if {"check", "--nagios"} <= set(invocation.arguments):  # 2 would be CRITICAL: a plugin is called wrongly, no more
        print(
            f"TIDELOG UNKNOWN - {' '.join(error.format_message().replace('|', '/').split())}", file=invocation.out.file
        )
        return NAGIOS["UNKNOWN"]
    path = context.command_path if context is not None else "tidelog"
    _tell(invocation, error, error.format_message(), f"see: {path} --help")
    return error.exit_code


def _tell(invocation: Invocation, error: Exception, message: str, hint: str) -> None:
    if invocation.traceback:
        invocation.say("".join(traceback.format_exception(error)))
    for label, style, text in (("error", "bold red", message), ("hint", "bold", hint)):
        if text:
            line = Text.assemble((f"{label}: ", style), " ".join(text.split()))
            invocation.err.print(line, soft_wrap=True, highlight=False)
