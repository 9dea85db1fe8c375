"""The planted bugs in what moves a group's primary."""

from tests.planted import Mutant

PROMOTE = "tests/recovery/test_promote.py tests/recovery/test_promotions_at_once.py"
EVIDENCE = "tests/recovery/test_promotion_evidence.py"

PROMOTE_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a-planned-promotion-fences-who-opened-since",
        "producers/opening.py",
        "            if behind is not None and follower.head.writer != behind:\n",
        "            if False:\n",
        f"{PROMOTE} tests/simulation/test_promotions.py",
    ),
    Mutant(
        "a-session-ends-without-a-flush",
        "producers/stepping_down.py",
        "            head = session.flush()\n",
        "            head = session.confirmed\n",
        f"{PROMOTE} tests/simulation/test_promotions.py",
    ),
    Mutant(
        "a-writer-ends-when-the-promotion-has-given-up",
        "producers/stepping_down.py",
        "        if wall_us() >= asked.expires_us:\n",
        "        if False:\n",
        PROMOTE,
    ),
    Mutant(
        "a-request-is-for-every-session",
        "producers/stepping_down.py",
        "record.writer == self._session.writer\n",
        "record.group == self._group\n",
        PROMOTE,
    ),
    Mutant(
        "a-request-is-left-behind",
        "recovery/promotion_claim.py",
        "                self._control.retract(self._asked.key)\n",
        "                pass\n",
        PROMOTE,
    ),
    Mutant(
        "the-last-record-is-the-primary",
        "producers/control.py",
        "        return before if before.epoch > record.epoch else record\n",
        "        return record\n",
        PROMOTE,
    ),
    Mutant(
        "an-opening-does-not-wait",
        "consumers/primary.py",
        "    while promotion_under_way(view, record) is not None and time.monotonic() < deadline:\n",
        "    while False:\n",
        PROMOTE,
    ),
    Mutant(
        "the-configured-primary-goes-first",
        "consumers/primary.py",
        "    if chosen is None:\n        assert config.primary is not None\n",
        "    if chosen is None or config.primary:\n        assert config.primary is not None\n",
        PROMOTE,
    ),
    Mutant(
        "a-site-that-does-not-apply-is-promoted",
        "recovery/promote.py",
        "        while (sequence := store.position().head.sequence) < target.sequence:\n",
        "        while (sequence := store.position().head.sequence) < 0:\n",
        PROMOTE,
    ),
    Mutant(
        "promotion-fences-whoever-opened-meanwhile",
        "recovery/promote.py",
        "                if head.writer != session and not self.plan.forced:\n",
        "                if head.writer != session and self.plan.forced:\n",
        EVIDENCE,
    ),
    Mutant(
        "promotion-hidden-by-a-lost-primary",
        "consumers/primary.py",
        " and chosen.chosen_us >= asked.asked_us\n",
        "\n",
        EVIDENCE,
    ),
)
