"""The planted bugs in what a mirrored log, and a log on another cluster, are taken for."""

from tests.planted import Mutant

MIRRORS = "tests/consumers/test_mirrors.py"

REGION_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "regions-head-by-sequence-alone",
        "consumers/changed_log.py",
        "    if (there.sequence, there.seal) == (head.sequence, head.seal):\n",
        "    if there.sequence == head.sequence:\n",
        MIRRORS,
    ),
    Mutant(
        "regions-offset-of-the-other-cluster",
        "consumers/changed_log.py",
        "        position = applier.found(found.offset, offsets)\n",
        "        position = applier.found(position.head.offset, offsets)\n",
        MIRRORS,
    ),
    Mutant(
        "regions-second-source-is-void",
        "producers/mirrors.py",
        "        if self._is_foreign(event):\n",
        "        if False:\n",
        MIRRORS,
    ),
    Mutant(
        "regions-second-source-known-by-its-writes-alone",
        "producers/mirrors.py",
        "            return event.sequence > self._first and self._counted.get(event.sequence - 1) != event.previous\n",
        "            return False\n",
        MIRRORS,
    ),
    Mutant(
        "regions-writers-in-a-mirror",
        "consumers/access.py",
        "    refuse_mirror(deployment.cluster.control, record, lambda: deployment.cluster.log(record))\n",
        "",
        "tests/consumers/test_mirrored_groups.py",
    ),
    Mutant(
        "regions-position-not-moved",
        "stores/plan.py",
        "        return self.close(commands, replace(self.image.position, head=head, cluster_id=self._cluster_id))\n",
        "        return self.close(commands, replace(self.image.position, head=head))\n",
        MIRRORS,
    ),
    Mutant(
        "regions-truncation-believed-away",
        "producers/mirrors.py",
        '        if record.leader_epoch > self._leader_epoch:\n            self._verified = b""\n',
        "",
        MIRRORS,
    ),
    Mutant(
        "regions-head-needs-its-record",
        "producers/follower.py",
        "        return carries_head(self.log, self.head) or self.begins_behind()\n",
        "        return carries_head(self.log, self.head)\n",
        "tests/consumers/test_log_begins.py",
    ),
)
