"""Materialises a moment at osaka, and kills itself at a marked point of `tests.crash.child`: run as a process by
test_materialise_sigkill.py.

    python -m tests.crash.materialise_child CONFIG GROUP POINT NTH SEQUENCE
"""

import sys

from tests.crash.child import kill_at
from tidelog.consumers.access import open_site


def main() -> None:
    path, group, point, nth, sequence = sys.argv[1:]
    with open_site("osaka", path) as site:
        opened = site.group(group)
        kill_at(point, int(nth))
        opened.materialise("was", sequence=int(sequence))


if __name__ == "__main__":
    main()
