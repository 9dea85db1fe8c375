"""Logging in with a browser: the token once, in a form, for a cookie."""

import asyncio
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from tidelog.gateways.web.access import SESSION_SECONDS, Access

BODY_BYTES_MAX = 4096
BODY_SECONDS = 10.0
MARK = "<!-- problem -->"
WRONG = '<p class="login-problem" role="alert">That is not the token of this server.</p>'


class Login:
    """The form, and what it sends."""

    def __init__(self, access: Access, form: str) -> None:
        self._access, self._form = access, form

    async def show(self, request: Request) -> Response:
        """GET: the form; for who needs none, the page."""
        if self._access.allows(request.headers):
            return RedirectResponse("/", 303)
        return HTMLResponse(self._form.replace(MARK, ""))

    async def enter(self, request: Request) -> Response:
        """POST: the cookie for the token, or the form again with 401."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return PlainTextResponse("the form took too long\n", 408, {"connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return PlainTextResponse("that is too long for a token\n", 413, {"connection": "close"})
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not self._access.is_token(given):
            return HTMLResponse(self._form.replace(MARK, WRONG), 401)
        return self._with_cookie("/", self._access.session(), SESSION_SECONDS)

    async def leave(self, request: Request) -> Response:  # noqa: ARG002 (every endpoint is given one)
        """POST: without the cookie."""
        return self._with_cookie("/login", "", 0)

    def _with_cookie(self, to: str, value: str, seconds: int) -> Response:
        response = RedirectResponse(to, 303)
        response.set_cookie(
            self._access.cookie, value, seconds, secure=self._access.tls, httponly=True, samesite="strict"
        )
        return response


async def _body(request: Request) -> bytes | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
