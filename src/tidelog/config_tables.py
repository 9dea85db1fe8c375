"""The tables of the configuration: what may be set, and what it must look like."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tidelog.config_sidefile import SidefileConfig
from tidelog.kafka_options import Client, checked
from tidelog.names import NAME_PATTERN
from tidelog.units import Duration, Size
from tidelog.urls import credentials_moved

KIB, MIB = 1024, 1024 * 1024
KEY_SIZE_MIN, KEY_SIZE_MAX = 16, 64

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
Positive = Annotated[Duration, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


def addresses(value: Any) -> Any:
    """A list, or the same as a text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _place(value: str) -> str:
    """An absolute folder or a URL: others than this process read it, and it is told on the control topic."""
    if "://" not in value and not Path(value).is_absolute():
        raise ValueError("an archive is an absolute folder, or a URL such as s3://bucket/folder")
    if "@" in urlsplit(value).netloc:
        raise ValueError("credentials do not belong into the URL of an archive, which every site is told")
    return value


ArchivePlace = Annotated[str, AfterValidator(_place)]


class Table(BaseModel):
    """A table of the configuration. ``secrets`` names those fields that may come from a file instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in cls.secrets:
            path = data.get(f"{name}_file")
            if path is None:
                continue
            if data.get(name) is not None:
                raise ValueError(f"{name} and {name}_file are both given; leave one out")
            try:
                data = data | {name: Path(path).read_text("utf-8").strip()}
            except (OSError, UnicodeDecodeError, TypeError) as error:
                raise ValueError(f"{name}_file cannot be read: {error}") from None
        return data


class KafkaConfig(Table):
    """How to reach Kafka. ``producer``, ``consumer`` and ``admin`` pass further options to kafka-python."""

    secrets = ("sasl_plain_password", "ssl_password")

    bootstrap_servers: Annotated[tuple[str, ...], BeforeValidator(addresses), Field(min_length=1)] = ("localhost:9092",)
    client_id: str = "tidelog"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] | None = None
    sasl_plain_username: str | None = None
    sasl_plain_password: SecretStr | None = None
    sasl_plain_password_file: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = None
    ssl_password_file: Path | None = None
    ssl_check_hostname: bool = True
    proxy_url: SecretStr | None = None
    request_timeout: Positive = 30.0
    connect_timeout: Positive = 10.0
    producer: dict[str, Any] = Field(default_factory=dict)
    consumer: dict[str, Any] = Field(default_factory=dict)
    admin: dict[str, Any] = Field(default_factory=dict)

    @field_validator("producer", "consumer", "admin")
    @classmethod
    def _check_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        client: Client = info.field_name  # type: ignore[assignment]  # one of the three above
        return checked(client, value)

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs a sasl_mechanism")
        if self.sasl_mechanism is not None and not self.security_protocol.startswith("SASL"):
            raise ValueError(f"sasl_mechanism needs security_protocol SASL_SSL, not {self.security_protocol}")
        return self


class RedisConfig(Table):
    """How to reach a site's Redis. A user or password inside ``url`` is moved to the fields of that name, so that
    ``url`` can be shown."""

    secrets = ("password",)

    url: str
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_check_hostname: bool = True
    socket_timeout: Positive = 5.0
    connect_timeout: Positive = 5.0

    @model_validator(mode="before")
    @classmethod
    def _split_url(cls, data: Any) -> Any:
        return credentials_moved(data)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
        if not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError("the URL names no " + ("socket" if parts.scheme == "unix" else "host"))
        return url

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        given = {"ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"} & self.model_fields_set
        if given and not self.url.startswith("rediss://"):
            raise ValueError(f"{min(given)} needs a URL that begins with rediss://")
        return self

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for ``redis.Redis.from_url(config.url, ...)``."""
        options: dict[str, Any] = {
            "username": self.username,
            "password": self.password.get_secret_value() if self.password else None,
            "socket_timeout": self.socket_timeout,
            "socket_connect_timeout": self.connect_timeout,
        }
        if self.url.startswith("rediss://"):
            files = {"ca_certs": self.ssl_cafile, "certfile": self.ssl_certfile, "keyfile": self.ssl_keyfile}
            options |= {f"ssl_{name}": str(path) for name, path in files.items() if path}
            options["ssl_check_hostname"] = self.ssl_check_hostname
        return {name: value for name, value in options.items() if value is not None}


class KeepRules(Table):
    """Which copies retention keeps: the newest ones, and the newest one of each of the newest hours, days, ISO weeks
    and months (UTC) that have any."""

    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if not (self.last or self.hourly or self.daily or self.weekly or self.monthly):
            raise ValueError("keep names no number above 0: it would drop every copy but the newest")
        return self


class KeepConfig(KeepRules):
    """What retention keeps of a group's scheduled copies; ``named`` subjects copies that were made by name, too."""

    named: bool = False


class PacingConfig(Table):
    """What a group's writer does while a site is further behind than ``max_lag`` (seconds) or ``max_lag_events``: it
    says so (``warn``), delays each write by at most ``max_delay`` seconds (``pace``), or holds writes (``block``).
    ``sites`` are those that count; empty: all that are configured."""

    policy: Literal["warn", "pace", "block"]
    sites: Annotated[tuple[Name, ...], BeforeValidator(addresses)] = ()
    max_lag: Positive | None = None
    max_lag_events: Annotated[int, Field(ge=1)] | None = None
    max_delay: Annotated[Duration, Field(gt=0, le=10)] = 0.02

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.max_lag is None and self.max_lag_events is None:
            raise ValueError("pacing needs max_lag, max_lag_events, or both")
        return self


class Objectives(Table):
    """What is promised of data at a site: that nothing older than ``rpo`` seconds is outside its image, and nothing
    older than ``copy_rpo`` seconds outside its copies. None: nothing."""

    rpo: Positive | None = None
    copy_rpo: Positive | None = None


class SiteConfig(Objectives):
    """One site: its Redis, which of its own copies, those by time, it keeps (None: all), and where those that it does
    not keep are archived first (None: nowhere)."""

    redis: RedisConfig
    keep: KeepRules | None = None
    archive: ArchivePlace | None = None


class GroupConfig(Objectives, SidefileConfig):
    """One consistency group: the key of its seals, hexadecimal, 16 to 64 bytes (``openssl rand -hex 32``); how often
    its writer makes a copy (seconds), which of those stay, where copies are archived before they are dropped, and what
    its writer does about sites that are too far behind (None: nothing), and how it frames what it sends."""

    secrets = ("key",)

    key: SecretStr | None = None
    key_file: Path | None = None
    every: Annotated[Duration, Field(ge=1)] | None = None
    keep: KeepConfig | None = None
    archive: ArchivePlace | None = None
    pacing: PacingConfig | None = None
    wire_format: Literal["single-object", "confluent"] = "single-object"

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.keep is not None and self.every is None:
            raise ValueError('keep is about scheduled copies and needs every, such as every = "15m"')
        return self

    @field_validator("key")
    @classmethod
    def _check_key(cls, key: SecretStr | None) -> SecretStr | None:
        try:
            size = len(bytes.fromhex(key.get_secret_value())) if key else KEY_SIZE_MIN
        except ValueError:
            raise ValueError("a key is hexadecimal, such as `openssl rand -hex 32` prints") from None
        if not KEY_SIZE_MIN <= size <= KEY_SIZE_MAX:
            raise ValueError(f"a key has {KEY_SIZE_MIN} to {KEY_SIZE_MAX} bytes, this one {size}")
        return key

    @property
    def key_bytes(self) -> bytes | None:
        """The key, None if the group has none."""
        return bytes.fromhex(self.key.get_secret_value()) if self.key else None


class WriterConfig(Table):
    """A writer session: bytes and seconds."""

    batch_bytes: Annotated[Size, Field(ge=4 * KIB, le=MIB)] = 256 * KIB
    linger: Annotated[Duration, Field(le=10)] = 0.002
    buffer_bytes: Size = 64 * MIB
    write_timeout: Positive = 30.0
    heartbeat: Positive = 1.0
    max_clock_skew: Duration = 60.0
    overlay_bytes: Size = 64 * MIB


class WorkerConfig(Table):
    """A site worker: bytes and seconds. ``instance_id`` makes it a static member of its Kafka consumer group."""

    fetch_bytes: Annotated[Size, Field(ge=64 * KIB, le=64 * MIB)] = 4 * MIB
    queue_bytes: Annotated[Size, Field(ge=64 * KIB)] = 16 * MIB
    poll_timeout: Positive = 0.5
    status_interval: Positive = 1.0
    session_timeout: Positive = 10.0
    heartbeat_interval: Positive = 3.0
    max_poll_interval: Positive = 300.0
    instance_id: Name | None = None
