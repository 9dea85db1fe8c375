"""Metrics for Prometheus: what an observer sees of every group at every site, and what a worker counts of itself.

Needs the extra ``[metrics]``. Every metric is in `tidelog.gateways.metrics.listed`, and nowhere else.
"""

from tidelog.gateways.metrics.observed import exposition

__all__ = ["exposition"]
