"""The table [schema_registry]: where ids for schemas come from, for groups whose ``wire_format`` is "confluent"."""

from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from tidelog.config_tables import Positive, Table
from tidelog.urls import credentials_moved


class SchemaRegistryConfig(Table):
    """A registry that speaks Confluent's REST interface. A user or password inside ``url`` is moved to the fields of
    that name. With ``register`` False schemas must be there already; ``timeout`` is of one request, in seconds."""

    secrets = ("password",)

    url: str
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ssl_cafile: Path | None = None
    register_schemas: bool = True
    timeout: Positive = 10.0

    @model_validator(mode="before")
    @classmethod
    def _split_url(cls, data: Any) -> Any:
        return credentials_moved(data)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the URL of a schema registry is http://host:port or https://host:port")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.ssl_cafile is not None and not self.url.startswith("https://"):
            raise ValueError("ssl_cafile needs a URL that begins with https://")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        return self
