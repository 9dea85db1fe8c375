"""The command line: `tidelog`. What each command does and every exit code: docs/cli.md."""

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidelog.gateways.cli.invocation import OpenDeployment

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None, open_deployment: "OpenDeployment | None" = None) -> int:
    """Runs one command line (default: the process's own) and returns its exit code.

    ``open_deployment`` replaces what the configuration would connect to. Imports are inside, so that Ctrl-C while they
    are under way ends as quietly as later.
    """
    try:
        collects = gc.isenabled()
        gc.disable()  # importing makes what stays: collecting meanwhile is a tenth of the start
        from tidelog.gateways.cli.running import run

        if collects:
            gc.enable()
        return run(argv, open_deployment)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
