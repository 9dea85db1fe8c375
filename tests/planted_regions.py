"""The planted bugs in what a mirrored log, and a log on another cluster, are taken for."""

from tests.planted import Mutant

MIRRORS = "tests/consumers/test_mirrors.py"
LOST = "tests/recovery/test_region_lost.py"
RACES = "tests/recovery/test_region_races.py"

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
        "        if self._is_foreign(event) and self._mirrored():\n",
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
        "regions-source-not-sealed",
        "recovery/region_seal.py",
        "    cluster.control.publish(sealed)\n",
        "",
        LOST,
    ),
    Mutant(
        "regions-another-epoch-at-the-second-try",
        "recovery/promote.py",
        "        if plan.mirror is not None and ends_mirror(event_at(log, self._codec, head), log.id):\n",
        "        if False:\n",
        LOST,
    ),
    Mutant(
        "regions-writers-of-the-lost-region-live-on",
        "recovery/region_return.py",
        "        _seal(cluster, log, codec, lost, sealed, clock)\n",
        "",
        LOST,
    ),
    Mutant(
        "regions-openings-in-the-lost-region",
        "producers/mirrors.py",
        "    if sealed is not None:\n        refuse_sealed(sealed)\n",
        "",
        LOST,
    ),
    Mutant(
        "regions-what-seals-is-applied",
        "producers/mirrors.py",
        "        if is_sealing(event):\n",
        "        if False:\n",
        LOST,
    ),
    Mutant(
        "regions-rolled-back-before-the-mirror-has-come",
        "recovery/rollback_plan.py",
        "    if sealed is not None and end <= sealed.sequence:\n",
        "    if False:\n",
        LOST,
    ),
    Mutant(
        "regions-halts-in-place-of-waiting",
        "consumers/changed_log.py",
        "    if there.sequence < head.sequence and sealed is not None:\n",
        "    if False:\n",
        LOST,
    ),
    Mutant(
        "regions-the-sealed-topic-is-followed-on",
        "consumers/worker.py",
        "if record.topic != wanted[name].topic}:\n",
        "if False}:\n",
        LOST,
    ),
    Mutant(
        "regions-offsets-of-the-sealed-topic",
        "schemas/mirrors.py",
        '    return cluster_id if number == 1 else f"{cluster_id}.R{number}"\n',
        "    return cluster_id\n",
        LOST,
    ),
    Mutant(
        "regions-an-overtaken-promotion-seals",
        "recovery/promote.py",
        "            refuse_ended_mirror(self._control.snapshot(), plan.group, log.id)\n",
        "            pass\n",
        RACES,
    ),
    Mutant(
        "regions-openings-behind-the-seal",
        "consumers/access.py",
        "            refuse_mirror(cluster.control, record, lambda: cluster.log(record))\n",
        "            pass\n",
        RACES,
    ),
    Mutant(
        "regions-an-unnamed-seal-of-any-log",
        "recovery/region_return.py",
        "    if told is None or incarnation(log) != 1 or sealed_log(ours, group, told.goes_on) is not None:\n",
        "    if told is None:\n",
        RACES,
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
