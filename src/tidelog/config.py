"""The configuration: one TOML file, the environment over it, defaults under it (docs: `config show`).

    prefix = "tidelog"                  # of topic names
    primary = "tokyo"                   # the site whose store serves the application's reads; default: the first one

    [kafka]
    bootstrap_servers = "kafka-1:9092,kafka-2:9092"
    security_protocol = "SASL_SSL"
    sasl_plain_password_file = "/run/secrets/kafka"
    [kafka.producer]                    # kafka-python's own options; `.` and `_` are the same
    retry.backoff.ms = 200

    [sites.tokyo.redis]
    url = "unix:///run/redis/redis.sock"

    [groups.bank]
    key_file = "bank.key"               # hexadecimal, 16 to 64 bytes: openssl rand -hex 32

    [writer]
    linger = "2ms"

A setting in the environment is ``TIDELOG_`` and the path with two underscores: ``TIDELOG_KAFKA__BOOTSTRAP_SERVERS``,
``TIDELOG_SITES__TOKYO__REDIS__URL``. Every secret has a twin ``..._file``. Relative paths of files (``*_file``,
``ssl_*file``) are relative to the configuration file's folder. All models are frozen.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tidelog.config_http import HttpConfig
from tidelog.config_metrics import MetricsConfig
from tidelog.config_registry import SchemaRegistryConfig
from tidelog.config_sources import EnvironmentSource, FileSource, NestedSource, as_config_error
from tidelog.config_tables import (
    GroupConfig,
    KafkaConfig,
    KeepConfig,
    Name,
    RedisConfig,
    SiteConfig,
    Table,
    WorkerConfig,
    WriterConfig,
)

__all__ = [
    "Config",
    "GroupConfig",
    "HttpConfig",
    "KafkaConfig",
    "KeepConfig",
    "MetricsConfig",
    "RedisConfig",
    "SchemaRegistryConfig",
    "Setting",
    "SiteConfig",
    "WorkerConfig",
    "WriterConfig",
]

DEFAULT_FILE = Path("tidelog.toml")
FILE_VARIABLE = "TIDELOG_CONFIG"

# What `Config.load` reads, highest first; nothing for a plain `Config(...)`.
_sources: ContextVar[tuple[NestedSource, ...]] = ContextVar("sources", default=())


class Setting(NamedTuple):
    """One line of ``config show``, secrets masked. ``origin`` is "default", "argument", a file or a variable."""

    key: str
    value: Any
    origin: str


class Config(BaseSettings):
    """Everything that is configured. ``Config(...)`` takes its arguments alone; `load` reads file and environment.

    Raises `ConfigError`, and only that, for anything that cannot be.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    prefix: Name = "tidelog"
    primary: Name | None = None
    kafka: KafkaConfig = Field(default_factory=KafkaConfig)
    sites: dict[Name, SiteConfig] = Field(default_factory=dict)
    groups: dict[Name, GroupConfig] = Field(default_factory=dict)
    writer: WriterConfig = Field(default_factory=WriterConfig)
    worker: WorkerConfig = Field(default_factory=WorkerConfig)
    schema_registry: SchemaRegistryConfig | None = None
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    http: HttpConfig = Field(default_factory=HttpConfig)

    _read: tuple[NestedSource, ...] = PrivateAttr(default=())

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise as_config_error(error, type(self), _sources.get(), values) from None
        self._read = _sources.get()

    @classmethod
    def load(cls, path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """The configuration from the file at ``path``, else the one that ``TIDELOG_CONFIG`` names, else
        ``tidelog.toml`` if there is one; the environment goes before the file. Raises `ConfigError`."""
        chosen = path if path is not None else environ.get(FILE_VARIABLE)
        file = Path(chosen) if chosen else DEFAULT_FILE if DEFAULT_FILE.exists() else None
        sources = (EnvironmentSource(cls, environ), *([FileSource(cls, file)] if file else []))
        token = _sources.set(sources)
        try:
            return cls()
        finally:
            _sources.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings passes these by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ours in place of pydantic-settings' own: they know where each value came from."""
        return (init_settings, *_sources.get())

    @model_validator(mode="before")
    @classmethod
    def _choose_primary(cls, data: Any) -> Any:
        sites = data.get("sites")
        if isinstance(sites, dict) and sites and data.get("primary") is None:
            return data | {"primary": next(iter(sites))}
        return data

    @model_validator(mode="after")
    def _check_sites(self) -> Self:
        if self.primary is not None and self.primary not in self.sites:
            raise ValueError(f"primary names the site {self.primary}, which is not under sites")
        for name, group in self.groups.items():
            unknown = set(group.pacing.sites) - self.sites.keys() if group.pacing is not None else ()
            if unknown:
                raise ValueError(f"groups.{name}.pacing names the site {min(unknown)}, which is not under sites")
        return self

    @model_validator(mode="after")
    def _check_wire_formats(self) -> Self:
        framed = [name for name, group in self.groups.items() if group.wire_format == "confluent"]
        if framed and self.schema_registry is None:
            raise ValueError(f"groups.{framed[0]}.wire_format is confluent, which needs schema_registry.url")
        return self

    def group_key(self, name: str) -> bytes | None:
        """The key of a group's seals, None if there is none."""
        return self.groups[name].key_bytes if name in self.groups else None

    @property
    def file(self) -> Path | None:
        """The file it was read from."""
        return next((source.path for source in self._read if isinstance(source, FileSource)), None)

    @property
    def is_set(self) -> bool:
        """Whether a file was read, or the environment sets anything."""
        return any(isinstance(source, FileSource) or source.values for source in self._read)

    def describe(self) -> list[Setting]:
        """Every setting with its value, secrets masked, and where it came from."""
        return list(self._describe(self, ()))

    def _describe(self, value: Any, path: tuple[str, ...]) -> list[Setting]:
        if isinstance(value, Table | Config):
            fields = type(value).model_fields
            parts = {name: getattr(value, name) for name in fields}
        elif isinstance(value, dict):
            parts = value
        else:
            return [Setting(".".join(path), masked(value), self._origin(path, value))]
        return [line for name, part in parts.items() for line in self._describe(part, (*path, name))]

    def _origin(self, path: tuple[str, ...], value: Any) -> str:
        *table, name = path
        # A secret may come from its file, a user or password out of a URL.
        keys = [path] if value is None else [path, (*table, f"{name}_file"), (*table, "url")]
        for key in keys[: 3 if name in ("username", "password") else 2]:
            origin = next((found for source in self._read if (found := source.origin(key))), "")
            if origin:
                return origin
        return "default" if self._read else "argument or default"


def masked(value: Any) -> Any:
    """As `Config.describe` shows it."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
