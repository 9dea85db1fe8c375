"""The settings of `tidelog serve http`: where the status page listens, and what protects it there."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from tidelog.config_tables import Table, addresses
from tidelog.units import Duration

TOKEN_CHARACTERS_MIN = 16


class HttpConfig(Table):
    """``address`` is host:port; one that is not of this machine alone needs ``token`` and TLS. ``names`` are further
    names by which browsers know the server, such as a proxy's. ``interval``: seconds between two looks at Kafka."""

    secrets = ("token", "tls_password")

    address: str = "127.0.0.1:8080"
    names: Annotated[tuple[str, ...], BeforeValidator(addresses)] = ()
    interval: Annotated[Duration, Field(ge=0.1, le=60)] = 1.0
    token: SecretStr | None = None
    token_file: Path | None = None
    tls_certfile: Path | None = None
    tls_keyfile: Path | None = None
    tls_password: SecretStr | None = None
    tls_password_file: Path | None = None

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else "0" * TOKEN_CHARACTERS_MIN
        if len(text) < TOKEN_CHARACTERS_MIN or not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError(
                f"a token has at least {TOKEN_CHARACTERS_MIN} letters, digits and signs in one line, such as"
                " `openssl rand -hex 32` prints"
            )
        return token

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            raise ValueError("TLS needs both, tls_certfile and tls_keyfile")
        return self
