"""Runs a command that the kernel kills when its parent dies: `die_with_parent.py PARENT_PID COMMAND [ARGUMENT]...`.

A program of its own, executed by path before the server replaces it: asked for in `preexec_fn`, the same would run
Python code between fork and exec of a process with threads, which can deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("the parent process has ended")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
