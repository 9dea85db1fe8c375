"""The list of metrics: named as Prometheus wants it, documented, and nothing whose number grows with the data."""

from tidelog.consumers.counts import HALT_KINDS
from tidelog.gateways.metrics.families import Families
from tidelog.gateways.metrics.listed import LABEL_VALUES, METRICS, Kind, Place

LABELS = {"group", "site", *LABEL_VALUES, "version"}


def test_names_are_by_convention() -> None:
    """``tidelog_``, the unit at the end, ``_total`` for counters and for them alone; each name once."""
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("tidelog_")
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
        stem = metric.name.removesuffix("_total")
        if metric.unit in ("seconds", "bytes") and metric.kind is not Kind.COUNTER:
            assert stem.endswith(f"_{metric.unit}"), metric.name
        assert metric.help.endswith(".") and len(metric.help) < 120


def test_labels_are_bounded() -> None:
    """Groups, sites, and words of our own."""
    assert {label for metric in METRICS for label in metric.labels} <= LABELS
    kinds = "CopyMissing CorruptEvent LockInDoubt LogDiverged LogGap NeedsRebuild StoreDamaged UnsupportedEvent other"
    assert " ".join(HALT_KINDS) == kinds


def test_every_metric_has_a_place() -> None:
    """Each is in the answer of who exposes it, before anything has happened."""
    names = {place: {family.name for family in Families(place)} for place in (Place.OBSERVER, Place.WORKER)}
    for metric in METRICS:
        where = names if metric.place is Place.BOTH else (metric.place,)
        assert all(metric.name.removesuffix("_total") in names[place] for place in where)
    assert names[Place.OBSERVER] & names[Place.WORKER] == {"tidelog_build_info"}
