"""Families of samples, made from the list: who adds to one that is not in it, or with other labels, is wrong."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import tidelog
from tidelog.gateways.metrics.listed import METRICS, Kind, Listed, Place

INFINITY = float("inf")


class Families:
    """What one scrape answers, of one place: every family that it has in the list, also those without a sample."""

    def __init__(self, place: Place) -> None:
        listed = [metric for metric in METRICS if metric.place in (place, Place.BOTH)]
        self._listed = {metric.name: metric for metric in listed}
        self._families: dict[str, Metric] = {metric.name: _empty(metric) for metric in listed}
        self.add("tidelog_build_info", 1, tidelog.__version__)

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """A sample. What is not known (None) is ``+Inf``."""
        family = self._families[name]
        assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
        assert len(labels) == len(self._listed[name].labels), name
        family.add_metric(labels, INFINITY if value is None else float(value))

    def add_one_of(self, name: str, words: Iterable[str], chosen: str, *labels: str) -> None:
        """A sample for each word that the last label may be: 1 for the chosen one."""
        for word in words:
            self.add(name, word == chosen, *labels, word)

    def add_each(self, name: str, values: Mapping[str, float], *labels: str) -> None:
        """A sample for each value of the last label."""
        for word, value in values.items():
            self.add(name, value, *labels, word)

    def add_histogram(
        self, name: str, bounds: Sequence[float], counts: Sequence[int], total: float, *labels: str
    ) -> None:
        """``counts`` are those of each bucket alone, of the one above all ``bounds`` last."""
        family, buckets, sum_so_far = self._families[name], [], 0
        assert isinstance(family, HistogramMetricFamily)
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            sum_so_far += count
            buckets.append((bound, float(sum_so_far)))
        family.add_metric(labels, buckets, total)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())


def _empty(metric: Listed) -> Metric:
    kinds = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily, Kind.HISTOGRAM: HistogramMetricFamily}
    made: Metric = kinds[metric.kind](metric.name, metric.help, labels=metric.labels)
    return made
