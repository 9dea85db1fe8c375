"""The planted bugs in what rolls a site back."""

from tests.planted import Mutant

ROLLBACK = "tests/stores/test_rollback.py"

ROLLBACK_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "rollback-counts-what-the-lost-history-named",
        "stores/state.py",
        "                if generation in counted:\n",
        "                if generation in generations:\n",
        ROLLBACK,
    ),
    Mutant(
        "rollback-loses-live-blocks",
        "stores/rollback_blocks.py",
        "        if self.listed:\n",
        "        if not self.listed:\n",
        ROLLBACK,
    ),
    Mutant(
        "rollback-leaves-the-blocks-of-young-volumes",
        "stores/rollback_blocks.py",
        "        if number not in kept and number <= target.head.sequence:\n",
        "        if number not in kept:\n",
        ROLLBACK,
    ),
    Mutant(
        "rollback-keeps-the-pairs-of-the-lost-history",
        "stores/rollback.py",
        "        commands = [*self._set_tables(base, copies), *self._set_pairs(base.sequence)]\n",
        "        commands = [*self._set_tables(base, copies)]\n",
        ROLLBACK,
    ),
    Mutant(
        "rollback-drops-the-ends-of-a-scar",
        "stores/drop.py",
        "        waits |= waiting(image.copies)\n",
        "",
        ROLLBACK,
    ),
    Mutant(
        "rollback-makes-late-copies-within-a-scar",
        "stores/late_orders.py",
        "place(order, outside(image.copies))",
        "place(order, image.copies.values())",
        ROLLBACK,
    ),
    Mutant(
        "rollback-calls-a-volume-deleted-that-has-a-new-ones-id",
        "stores/volume_changes.py",
        "        if image.deleted.pop(number, None) is not None:",
        "        if image.deleted.get(-number) is not None:",
        ROLLBACK,
    ),
    Mutant(
        "rollback-goes-to-a-copy-that-is-dropped",
        "stores/rollback.py",
        "there.state is not CopyState.FORMED or ",
        "",
        "tests/stores/test_rollback_base_gone.py",
    ),
)
