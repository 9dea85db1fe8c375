"""URLs of servers."""

from typing import Any
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


def credentials_moved(data: Any) -> Any:
    """A table of the configuration as it was given, with the user and the password inside its ``url`` moved to the
    fields of those names; anything else as it is. Raises `ValueError` for one that is given twice."""
    if not isinstance(data, dict) or not isinstance(data.get("url"), str):
        return data
    url, found = split_credentials(data["url"])
    for name in found:
        if data.get(name) is not None or (name == "password" and data.get("password_file") is not None):
            raise ValueError(f"{name} is given inside url and beside it; leave one out")
    return data | found | {"url": url}
