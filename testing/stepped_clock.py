"""Runs a module as a program whose wall clock is stepped while it runs: `stepped_clock.py FILE MODULE [ARGUMENT]...`.

FILE holds eight bytes, a signed little-endian number of nanoseconds that is added to what `time.time` and
`time.time_ns` say. Monotonic clocks are left alone, as they are where a machine's clock is set.
"""

import mmap
import runpy
import sys
import time
from pathlib import Path

OFFSET_BYTES = 8


def main() -> None:
    """Does not return before the module's program ends."""
    path, module, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    with Path(path).open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET_BYTES, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def stepped_ns() -> int:
        return true_ns() + int.from_bytes(offset[:OFFSET_BYTES], "little", signed=True)

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1_000_000_000
    sys.argv = [module, *arguments]
    sys.path.pop(0)  # this file's own folder
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
