"""The planted bugs in what mends a damaged store."""

from tests.planted import Mutant

RESYNC = "tests/stores/test_resync.py tests/stores/test_resync_bits.py"

RESYNC_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "resync-counts-what-the-lost-history-named",
        "stores/mending.py",
        "generations = between(tables.copies.values(), copy.generation, tables.position.generation + 1)",
        "generations = [one for one in tables.generations if one >= copy.generation]",
        "tests/stores/test_resync_rolled_back.py",
    ),
    Mutant(
        "resync-goes-over-what-was-written-since",
        "recovery/resync.py",
        "        for volume, absent in plan.since.items():\n",
        "        for volume, absent in ():\n",
        RESYNC,
    ),
    Mutant(
        "resync-from-a-source-that-is-not-proved",
        "recovery/resync_survey.py",
        "        if plan.other in against or agreeing <= len(against):\n",
        "        if agreeing < 0:\n",
        RESYNC,
    ),
    Mutant(
        "resync-writes-over-what-other-copies-share",
        "stores/mending.py",
        "if place is not None and copy.generation < place and",
        "if place is not None and copy.generation > place and",
        RESYNC,
    ),
    Mutant(
        "resync-compares-elder-copies-by-one-sites-bitmaps",
        "recovery/resync_survey.py",
        "                wanted.merge(after[1].unshared(volume, pair.theirs))\n",
        "",
        RESYNC,
    ),
    Mutant(
        "resync-leaves-live-blocks",
        "recovery/resync.py",
        "        self._mend_live()\n",
        "",
        RESYNC,
    ),
)
