"""Who may ask: the token of programs, the cookie of browsers, and the names under which the server is asked.

A browser that has given the token in the form of `/login` holds a cookie: the time at which it ends, under a key that
this process has drawn. So nothing is stored, and the end of the process ends every session.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers

SESSION_SECONDS = 12 * 3600
COOKIE_CHARACTERS_MAX = 200  # ours has 75
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Access:
    """``token`` None: everybody who reaches the server. ``names`` None: whatever it is called."""

    def __init__(
        self, token: str | None, names: frozenset[str] | None, *, tls: bool, now: Callable[[], float] = time.time
    ) -> None:
        self.guarded, self.tls = token is not None, tls
        self._digest = _digest(token) if token is not None else b""
        self._names = names
        self._key = secrets.token_bytes(32)
        self._now = now
        # Browsers take a cookie of this prefix over TLS only, of this host and for it alone.
        self.cookie = "__Host-tidelog" if tls else "tidelog"

    def knows_name(self, host: str) -> bool:
        """Whether a Host header is one of ours: another one is a foreign page whose name was bent to this address."""
        if self._names is None:
            return True
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            name = host
        return name.lower().rstrip(".") in self._names

    def is_token(self, given: str) -> bool:
        """In a time that does not depend on where they differ, nor on the length."""
        return self.guarded and hmac.compare_digest(_digest(given), self._digest)

    def allows(self, headers: Headers) -> bool:
        """Whether a request shows the token, or a cookie that it was once given for."""
        if not self.guarded:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        return self._is_session(_cookie(headers.get("cookie", ""), self.cookie))

    def session(self) -> str:
        """A cookie's value, for whoever has given the token."""
        ends = str(int(self._now()) + SESSION_SECONDS)
        return f"{ends}.{self._sign(ends)}"

    def _is_session(self, value: str) -> bool:
        ends, _, signature = value.partition(".")
        signed = hmac.compare_digest(self._sign(ends).encode(), signature.encode())
        return signed and ends.isdecimal() and int(ends) > self._now()

    def _sign(self, ends: str) -> str:
        return hmac.new(self._key, ends.encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _cookie(header: str, name: str) -> str:
    """By hand: what `http.cookies` does with a quoted value takes a time that grows with the square of its length, and
    whoever reaches the server may send one (CVE-2024-7592). Ours is digits, a dot and hex, and is never quoted."""
    for part in header.split(";"):
        found, _, value = part.strip(" \t").partition("=")
        if found == name:
            return value if len(value) <= COOKIE_CHARACTERS_MAX else ""
    return ""
