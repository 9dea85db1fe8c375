"""Planted bugs in the status page: what it says, whom it lets in, and what a slow client costs."""

from tests.planted import Mutant

ACCESS = "tests/web/test_access.py"
API = "tests/web/test_api.py"
CHARTS = "tests/web/test_charts.py"
SLOW = "tests/web/test_slow_clients.py"

WEB_MUTANTS = (
    Mutant(
        "any-name-is-ours",
        "gateways/web/access.py",
        '        return name.lower().rstrip(".") in self._names\n',
        "        return True\n",
        ACCESS,
    ),
    Mutant(
        "a-token-is-compared-sign-by-sign",
        "gateways/web/access.py",
        "self.guarded and hmac.compare_digest(_digest(given), self._digest)",
        "self.guarded and _digest(given) == self._digest",
        ACCESS,
    ),
    Mutant(
        "a-session-does-not-end",
        "gateways/web/access.py",
        " and int(ends) > self._now()",
        "",
        ACCESS,
    ),
    Mutant(
        "tls-alone-is-enough-for-other-machines",
        "gateways/web/serving.py",
        "    if not found.loopback and lacks:\n",
        "    if not found.loopback and len(lacks) > 1:\n",
        ACCESS,
    ),
    Mutant(
        "an-old-status-is-given",
        "gateways/web/application.py",
        "        if unready or status is None:\n",
        "        if status is None:\n",
        API,
    ),
    Mutant(
        "a-look-that-hangs-is-not-noticed",
        "gateways/web/board.py",
        "        if silent > self.patience / 2:\n",
        "        if False:\n",
        API,
    ),
    Mutant(
        "copies-that-change-have-the-same-revision",
        "gateways/web/board.py",
        "(number + (now != copies or not number), now)",
        "(number or 1, now)",
        API,
    ),
    Mutant(
        "half-a-head-is-waited-for",
        "gateways/web/connection.py",
        "        self._head = self.loop.call_later(HEAD_SECONDS, self.abort)\n",
        "        self._head = None\n",
        SLOW,
    ),
    Mutant(
        "who-does-not-read-stays",
        "gateways/web/connection.py",
        "            self._unread = self.loop.call_later(UNREAD_SECONDS, self._must_have_shrunk, there)\n",
        "            self._unread = None\n",
        SLOW,
    ),
    Mutant(
        "a-page-that-has-gone-counts",
        "gateways/web/events.py",
        "            self._events.clients -= 1\n",
        "            pass\n",
        SLOW,
    ),
    Mutant(
        "throughput-without-its-lines",
        "gateways/web/page/charts.js",
        "rateScale(top(series, [])), series, [], cursor",
        "rateScale(top(series, [])), [], [], cursor",
        CHARTS,
    ),
    Mutant(
        "a-site's-lag-is-drawn-as-its-rate",
        "gateways/web/page/charts.js",
        "const RATE = 0;\n",
        "const RATE = 1;\n",
        CHARTS,
    ),
    Mutant(
        "throughput-without-its-sites",
        "gateways/web/page/charts.js",
        "    ...sites.map((site, index) => ({\n",
        "    ...[].map((site, index) => ({\n",
        CHARTS,
    ),
    Mutant(
        "a-legend-of-another-colour",
        "gateways/web/page/charts.js",
        "{ class: `${kind} line-${line}`, d: ",
        "{ class: `${kind} line-a`, d: ",
        CHARTS,
    ),
)
