"""What roll backs have left among the generations: which of them tell the present history, and which a lost one.

A roll back is one great change of the live image: it begins a generation, that of the copy ``lost-tail``, moves every
block that was named since copy C into it, and puts C's block in its place. So every copy, C's elders, C, the lost ones,
reads as before, by the same rule. Then it begins another generation R, with a record that is nobody's copy
(`CopyOrigin.ROLLBACK`), which the events of the present history are named in.

From C's generation up to R, a *scar*, bitmaps name what happened in the lost history, and what it took to go back. The
live image at R is the image at C, so for the present history these blocks were not named at all: whoever asks what was
named leaves the scar out. Were it counted, a copy onto a volume would seem to leave out blocks that may differ [C12].
While there is a scar, C is not dropped, since its bits would be handed to its elder. When the last lost copy of a scar
has gone, `tidelog.stores.healing` clears C's bits, since C is then what R is, and R is dropped like any other.
"""

from collections.abc import Iterable, Mapping

from tidelog.stores.store import Copy, CopyOrigin


def scars(copies: Iterable[Copy]) -> list[tuple[int, int]]:
    """Each scar: the generation of the copy that was gone back to, and the one that the present history begins with."""
    return [(copy.base, copy.generation) for copy in copies if copy.origin is CopyOrigin.ROLLBACK]


def present(copies: Mapping[int, Copy]) -> list[int]:
    """The generations, 0 included, whose bitmaps tell what the present history has named."""
    found = scars(copies.values())
    return [one for one in (0, *copies) if not any(first <= one < end for first, end in found)]


def between(copies: Iterable[Copy], first: int, end: int) -> list[int]:
    """The generations, from ``first`` and before ``end``, whose bitmaps tell what was named between these two cuts. A
    scar that neither lies within is left out: what it names was as before when it was over."""
    copies = list(copies)
    over = scars_between(copies, first, end)
    inside = (one for one in sorted({0, *(copy.generation for copy in copies)}) if first <= one < end)
    return [one for one in inside if not any(low <= one < high for low, high in over)]


def scars_between(copies: Iterable[Copy], first: int, end: int) -> list[tuple[int, int]]:
    """The scars that are over between two cuts."""
    return [scar for scar in scars(copies) if first <= scar[0] and scar[1] <= end]


def outside(copies: Mapping[int, Copy]) -> list[Copy]:
    """The records of the present history, in order."""
    found = scars(copies.values())
    return [copy for one, copy in copies.items() if not any(first < one < end for first, end in found)]


def waiting(copies: Mapping[int, Copy]) -> set[int]:
    """The generations that no drop may take yet: both ends of each scar."""
    return {one for scar in scars(copies.values()) for one in scar}


def healed(copies: Mapping[int, Copy]) -> Copy | None:
    """The record behind a scar that has no copy within any more; None if there is none."""
    for first, end in scars(copies.values()):
        if not any(first < one < end for one in copies):
            return copies[end]
    return None
