"""Settings of a whole process, for one that is a site worker and nothing else, or a command that exports or imports: it
owns them, the library leaves them alone in a user's process.

Measured with 400 MiB of 4 KiB writes (benchmarks/apply.py): kafka-python receives, joins and cuts in buffers of a whole
fetch, which glibc gives back to the kernel each time and faults in again. Without that a worker has 20,000 page faults
instead of 350,000, and needs a fifth less CPU (4.2 s instead of 5.3), for 10 MiB more memory.
"""

import ctypes
import gc
import os
import sys

# kafka-python's I/O thread waits behind decoding and packing with CPython's 5 ms: 0.2 ms doubled what is applied a
# second.
SWITCH_INTERVAL = 0.0002

# As much as `nice` gives by default.
NICE = 10

# <malloc.h>; both given, since setting one freezes the other. 32 MiB is the most that glibc takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_THRESHOLD, _MMAP_THRESHOLD = 64 * 1024 * 1024, 32 * 1024 * 1024


def set_for_worker() -> None:
    """Makes this process a worker's, for good. Where the C library has no ``mallopt``, memory stays as it is."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what start-up made stays: looking through it again is a pause of 18 ms each time
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def give_way() -> None:
    """Others on this machine go first, for good, as with `nice`: for a command that takes all the processor
    that it can get."""
    os.nice(NICE)
