"""docs/reference/metrics.md, from the list (``make docs``)."""

from tidelog.gateways.metrics.listed import LABEL_VALUES, METRICS, SITE_STATES, WRITER_STATES, Listed, Place

_HEAD = """\
# Reference: every metric

<!-- Written by docs/generate.py (make docs): change the code, not this page. -->

How to scrape them, and what to do then: [monitoring](../how-to/monitoring.md).

- A gauge that is not known is `+Inf`, never absent and never 0; so is an objective that is not configured. What is
  idle is 0.
- A site that is not configured has no metrics, whatever it has told.
- Times are seconds since 1970 in UTC, by the log or by the site's clock, and come from what Kafka and Redis hold: a
  restart of whoever exposes them changes none. Counters begin at 0 with the process that counts, and with each
  time that a group comes to it from another worker, as Prometheus expects.
- Labels are `group`, `site` and words of tidelog's own (below): there is nothing whose number grows with the data.
  `events` are counted as sequences are: each write of a batch is one.
- *stable*: name, labels and meaning stay within a major version; a new one may come in any. *experimental*: may change
  in any version.
"""
_OBSERVER = """\
`tidelog serve http` at `/metrics`, and `tidelog metrics` once: of every group at every site, by what sites and writers
have told, and the log's end. When Kafka does not answer, `tidelog_observer_up` is 0 and nothing is said of groups.
"""
_WORKER = """\
`tidelog site run` with `metrics.listen`: what that process has done, of the groups that it owns. Beside them are
prometheus-client's own of the process (`process_*`, `python_*`).
"""
_PLACES = (
    (Place.OBSERVER, "An observer", _OBSERVER),
    (Place.WORKER, "A site's worker", _WORKER),
    (Place.BOTH, "Both", ""),
)


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    for place, title, text in _PLACES:
        rows = [_row(metric) for metric in METRICS if metric.place is place]
        table = "\n".join(("| metric | type | labels | unit | | stability |", "|---|---|---|---|---|---|", *rows))
        parts.append("\n".join((f"## {title}\n", *((text,) if text else ()), table)) + "\n")
    words = [f"- `{name}`: {_words(values)}." for name, values in LABEL_VALUES.items() if name != "state"]
    states = f"- `state` of a site: {_words(SITE_STATES)}. Of a writer: {_words(WRITER_STATES)}."
    parts.append("\n".join(("## Values of labels\n", states, *words)) + "\n")
    return "\n".join(parts)


def _row(metric: Listed) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.kind, labels, metric.unit, metric.help, metric.stability)
    return f"| {' | '.join(cells)} |"


def _words(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)
