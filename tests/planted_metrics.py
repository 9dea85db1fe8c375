"""Planted bugs in rates, metrics and checks: what is unknown or idle told as something else."""

from tests.planted import Mutant

RATES, METRICS, CHECK = "tests/consumers/test_rates.py", "tests/cli/test_metrics.py", "tests/cli/test_check.py"

METRIC_MUTANTS = (
    Mutant(
        "heartbeats-are-work",
        "consumers/counts.py",
        "        return sum(self.events.values()) - self.events[Heartbeat.kind]\n",
        "        return sum(self.events.values())\n",
        RATES,
    ),
    Mutant(
        "a-batch-is-one-event",
        "consumers/counts.py",
        "                events[event.kind] += len(event.lengths)\n",
        "                events[event.kind] += 1\n",
        RATES,
    ),
    Mutant(
        "an-idle-group-tells-its-rates-each-time",
        "consumers/rates.py",
        "    return all(getattr(before, name) == getattr(now, name) for name in what)\n",
        "    return not what\n",
        RATES,
    ),
    Mutant(
        "a-silent-site-goes-on-applying",
        "consumers/rates.py",
        "    if standing.silent or told is None or told.worker != status.worker:\n",
        "    if told is None or told.worker != status.worker:\n",
        RATES,
    ),
    Mutant(
        "rates-of-another-worker",
        "consumers/rates.py",
        "    if standing.silent or told is None or told.worker != status.worker:\n",
        "    if standing.silent or told is None:\n",
        RATES,
    ),
    Mutant(
        "what-is-written-meanwhile-is-forgotten",
        "consumers/rates.py",
        "        return 0 if first is None or last is None else first - last\n",
        "        return 0 if first is None or last is None else self._samples[-1].events\n",
        RATES,
    ),
    Mutant(
        "a-halt-is-counted-with-each-report",
        "consumers/site_reports.py",
        "        if kind and self._stuck.get(name) != kind:\n",
        "        if kind:\n",
        RATES,
    ),
    Mutant(
        "what-is-unknown-is-0",
        "gateways/metrics/families.py",
        "INFINITY if value is None else float(value)",
        "0.0 if value is None else float(value)",
        METRICS,
    ),
    Mutant(
        "buckets-do-not-add-up",
        "gateways/metrics/families.py",
        "            sum_so_far += count\n",
        "            sum_so_far = count\n",
        f"{METRICS} -k worker_answers",
    ),
    Mutant(
        "a-copy-that-differs-is-waited-for",
        "gateways/metrics/observed.py",
        'for what, equal in (("equal", True), ("differing", False), ("waiting", None)):\n',
        'for what, equal in (("equal", True), ("differing", None), ("waiting", False)):\n',
        f"{METRICS} -k agree",
    ),
    Mutant(
        "who-cannot-look-finds-all-well",
        "gateways/cli/check.py",
        '        return NAGIOS["UNKNOWN"]\n',
        '        return NAGIOS["OK"]\n',
        CHECK,
    ),
    Mutant(
        "a-halted-site-is-a-warning",
        "gateways/cli/standing.py",
        "                yield Problem(site.stuck, f",
        "                yield Problem(False, f",
        f"{CHECK} -k halted",
    ),
    Mutant(
        "a-silent-writer-is-well",
        "gateways/cli/standing.py",
        "        if writer.state is WriterState.SILENT:\n",
        "        if writer.state is WriterState.NONE:\n",
        f"{CHECK} -k writer",
    ),
)
