"""Planted bugs in what is said of sites and of the copies that they have or lack."""

from tests.planted import Mutant

LACKING = "tests/cli/test_stores_that_lack_copies.py"
COPIES = "tests/cli/test_status_of_copies.py"

STANDING_MUTANTS = (
    Mutant(
        "a-store-that-is-gone-is-begun-anew",
        "consumers/site_store.py",
        "        if applied or isinstance(began, StoreBegan):\n",
        "        if applied:\n",
        LACKING,
    ),
    Mutant(
        "a-worker-without-its-redis-says-sequence-0",
        "consumers/replica.py",
        "        self._head = before or _NOTHING\n",
        "        self._head = _NOTHING\n",
        LACKING,
    ),
    Mutant(
        "a-copy-that-a-site-began-behind-is-waited-for",
        "consumers/answers.py",
        "    if isinstance(told, StoreBegan):\n",
        "    if False:\n",
        "tests/recovery/test_catalogue.py",
    ),
    Mutant(
        "a-set-that-a-site-lacks-is-complete",
        "consumers/ordered_sets.py",
        "        return len(self.complete_at) == len(self.answers)\n",
        "        return self.settled\n",
        LACKING,
    ),
    Mutant(
        "another-event-in-its-place-is-the-site's",
        "recovery/parted.py",
        "        if seals[offset] != status.seal:\n",
        "        if seals[offset] is None:\n",
        "tests/cli/test_parted.py",
    ),
    Mutant(
        "a-writer-that-is-gone-is-no-trouble",
        "gateways/cli/standing.py",
        " and not writer_gone else DEGRADED\n",
        " else DEGRADED\n",
        "tests/cli/test_check.py",
    ),
    Mutant(
        "a-store-that-others-change-is-waited-for-as-one-that-is-away",
        "consumers/replica.py",
        " > UNDISTURBED else MOVED_AGAIN\n",
        " > UNDISTURBED else RETRY_FIRST\n",
        "tests/consumers/test_recovery.py",
    ),
    Mutant(
        "a-site's-newest-copy-is-always-equal",
        "gateways/cli/status_screen.py",
        ' old, ", equal_text(copy.equal))',
        ' old, ", equal_text(True))',
        COPIES,
    ),
    Mutant(
        "the-newest-copy-is-always-equal",
        "gateways/cli/status_screen.py",
        "assemble(made, equal_text(copy.equal), ",
        "assemble(made, equal_text(True), ",
        COPIES,
    ),
    Mutant(
        "whatever-is-asked-of-a-copy-it-is-equal",
        "gateways/cli/output.py",
        'return Text("equal", style="green") if equal else Text("DIFFERS", style="bold white on red")',
        'return Text("equal", style="green")',
        COPIES,
    ),
    Mutant(
        "programs-are-told-that-copies-are-equal",
        "gateways/standing/documents.py",
        '        "equal": copy.equal,\n',
        '        "equal": True,\n',
        COPIES,
    ),
    Mutant(
        "a-site-shows-a-copy-that-it-lacks",
        "gateways/cli/status_screen.py",
        " if copy.answers.get(site.site) is Answer.FORMED), None)",
        "), None)",
        COPIES,
    ),
)
