"""URLs of servers."""

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit


def split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and those found in it (as userinfo, or redis-py's query parameters)."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    found = {"username": unquote(user), "password": unquote(password)} if at else {}
    if parts.scheme == "unix" and at and not colon:
        found = {"username": unquote(user)}
    query = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in ("username", "password"):
            found[name] = value
        else:
            query.append((name, value))
    bare = urlunsplit(parts._replace(netloc=host, query=urlencode(query)))
    if parts.scheme == "unix" and not host:
        bare = f"unix://{parts.path}" + (f"?{urlencode(query)}" if query else "")
    return bare, {name: value for name, value in found.items() if value}
