"""What every request passes: its method, the name it asks for, its token; and what every answer says of itself."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidelog.gateways.web.access import Access
from tidelog.gateways.web.connection import HEAD_BYTES_MAX

# Of machines that see whether the process lives, and of who has yet to log in.
OPEN = frozenset({"/healthz", "/readyz", "/login", "/style.css", "/icon.svg"})
# At once; of the connections that there may be some are left for `/healthz`.
REQUESTS_MAX = 192
POSTS = frozenset({"/login", "/logout"})
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
ON_EVERY_ANSWER = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Around the application. Refuses with 503, 431, 405, 421, 401 or 403; leads a browser without a session to
    `/login`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ON_EVERY_ANSWER.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope) or self._app
        self._answering += 1
        try:
            await answer(scope, receive, send_with_headers)
        finally:
            self._answering -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        path, method, headers = scope["path"], scope["method"], Headers(scope=scope)
        if self._answering >= REQUESTS_MAX and path != "/healthz":
            return PlainTextResponse("too much is asked at once\n", 503, {"retry-after": "5", "connection": "close"})
        size = (
            len(scope["raw_path"])
            + len(scope["query_string"])
            + sum(len(key) + len(value) for key, value in headers.raw)
        )
        if size > HEAD_BYTES_MAX:  # the parser's own limit is for what comes in parts
            return PlainTextResponse("that is too long for a request\n", 431, {"connection": "close"})
        posts = self._access.guarded and path in POSTS
        allowed = ("GET", "HEAD", "POST") if posts else ("GET", "HEAD")
        if method not in allowed:
            said = {"allow": ", ".join(allowed)}
            return PlainTextResponse("this server only shows things: GET and HEAD\n", 405, said)
        if path != "/healthz" and not self._access.knows_name(headers.get("host", "")):
            said_host = "this server is not known by that name; see `names` under [http] in tidelog's configuration\n"
            return PlainTextResponse(said_host, 421)
        foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign and (method == "POST" or headers.get("sec-fetch-mode") != "navigate"):
            # It could not read the answer; but send the form, or take the places of pages that follow.
            return PlainTextResponse("another site's page has asked for that\n", 403)
        if method == "POST":
            return None
        if path in OPEN or self._access.allows(headers):
            return None
        if path == "/" and "authorization" not in headers:
            return RedirectResponse("/login", 303)
        return PlainTextResponse("a token is needed\n", 401, {"www-authenticate": 'Bearer realm="tidelog"'})
