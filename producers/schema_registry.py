"""A client of Confluent's schema registry interface, as far as a writer needs it: the id of a schema under a subject.

Readers need none of it: see `tidelog.schemas.confluent`.
"""

import base64
import json
import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from tidelog.config import SchemaRegistryConfig
from tidelog.config_sources import mask_urls
from tidelog.errors import ConfigError, RegistryUnavailable
from tidelog.schemas.registry import Schema

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
LARGEST_ANSWER = 1024 * 1024
LARGEST_ID = 2**31 - 1
_WITHOUT = 'a writer needs none with wire_format = "single-object"; sites read either'


class _NoRedirects(HTTPRedirectHandler):
    """The password is for the configured address alone."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer is an error, then."""


class SchemaRegistry:
    """Asks, and remembers what it was told. Not thread-safe."""

    def __init__(self, config: SchemaRegistryConfig) -> None:
        self._config = config
        self._ids: dict[tuple[str, bytes], int] = {}
        self._ssl: ssl.SSLContext | None = None

    def schema_id(self, subject: str, schema: Schema) -> int:
        """The id of the schema under this subject, registered there if it is not and the configuration lets us.

        Raises `RegistryUnavailable`, or `ConfigError` (refused: user, compatibility, a schema that is not there).
        """
        key = (subject, schema.header)
        if key not in self._ids:
            registering = self._config.register_schemas
            path = f"/subjects/{quote(subject, safe='')}{'/versions' if registering else ''}"
            self._ids[key] = _id_of(self._post(path, {"schema": schema.text}, subject), self._config.url)
        return self._ids[key]

    def _post(self, path: str, document: dict[str, Any], subject: str) -> Any:
        config = self._config
        headers = {"Content-Type": CONTENT_TYPE, "Accept": f"{CONTENT_TYPE}, application/json"}
        if config.username is not None and config.password is not None:
            pair = f"{config.username}:{config.password.get_secret_value()}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        request = Request(config.url + path, json.dumps(document).encode(), headers, method="POST")
        try:
            opener = build_opener(_NoRedirects, HTTPSHandler(context=self._context()))
            with opener.open(request, timeout=config.timeout) as answer:
                return json.loads(answer.read(LARGEST_ANSWER))
        except HTTPError as error:
            with error:
                raise self._refused(error, subject) from None
        except (URLError, OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            hint = f"is it up, and is schema_registry.url right? {_WITHOUT}"
            raise RegistryUnavailable(
                f"the schema registry at {config.url} does not answer: {reason}", hint=hint
            ) from None
        except ValueError:
            raise _strange(config.url) from None

    def _context(self) -> ssl.SSLContext | None:
        if self._ssl is None and self._config.url.startswith("https://"):
            try:
                self._ssl = ssl.create_default_context(cafile=self._config.ssl_cafile)
            except OSError as error:
                raise ConfigError(f"schema_registry.ssl_cafile is of no use: {error}") from None
        return self._ssl

    def _refused(self, error: HTTPError, subject: str) -> ConfigError | RegistryUnavailable:
        url = self._config.url
        try:
            said = str(json.loads(error.read(LARGEST_ANSWER))["message"])
        except (ValueError, KeyError, TypeError, OSError, HTTPException):
            said = str(error.reason)
        if 300 <= error.code < 400:
            where = mask_urls(str(error.headers.get("Location")))
            hint = "say that address in schema_registry.url: the password goes nowhere else"
            return RegistryUnavailable(f"the schema registry at {url} points to {where}", hint=hint)
        if error.code in (401, 403):
            hint = "check schema_registry.username and password, and what that user may do"
            return ConfigError(f"the schema registry at {url} refuses us: {said} ({error.code})", hint=hint)
        if error.code == 404 and not self._config.register_schemas:
            hint = f"register the schema under the subject {subject}, or set schema_registry.register_schemas = true"
            return ConfigError(f"the schema registry at {url} does not have {subject}: {said}", hint=hint)
        if error.code in (409, 422):
            hint = f"which schemas are under the subject {subject}? ours are package data, *.avsc"
            return ConfigError(f"the schema registry at {url} refuses {subject}: {said} ({error.code})", hint=hint)
        hint = f"its own log says why; {_WITHOUT}"
        return RegistryUnavailable(f"the schema registry at {url} failed: {said} ({error.code})", hint=hint)


def _id_of(answer: Any, url: str) -> int:
    found = answer.get("id") if isinstance(answer, dict) else None
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= LARGEST_ID:
        raise _strange(url)
    return found


def _strange(url: str) -> RegistryUnavailable:
    return RegistryUnavailable(
        f"what answers at {url} is no schema registry", hint="Apicurio's is at /apis/ccompat/v7 of its address"
    )
