"""Where a flush has put what was written before it."""

from enum import StrEnum


class Durability(StrEnum):
    """What a flush that returned has reached."""

    IN_LOG = "in the log"
    IN_SIDEFILE = "in the sidefile"  # on this machine's disk alone: no site has it, and another writer may come first
