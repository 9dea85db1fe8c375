"""Where settings come from, and what is said about those that cannot be."""

import re
import tomllib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from tidelog.errors import ConfigError

ENV_PREFIX = "TIDELOG_"
ENV_DELIMITER = "__"
# Variables of ours that are no settings.
_NO_SETTINGS = re.compile("TIDELOG_(CONFIG|TEST_.*|[A-Z]+_IMAGE)")
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@|(?<=[?&]password=)[^&\s]*")

Key = tuple[str, ...]


def mask_urls(text: str) -> str:
    """``text`` with whatever stands for user and password in a URL replaced."""
    return _USERINFO.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)


class NestedSource(PydanticBaseSettingsSource):
    """A source that is one nested dictionary and knows the origin of each value."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.values: dict[str, Any] = {}

    @abstractmethod
    def origin(self, key: Key) -> str:
        """Where the value at ``key`` stands, for people; empty if this source has none."""

    def has(self, key: Key) -> bool:
        """Whether this source gives ``key``."""
        return _at(self.values, key) is not _NOTHING

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """pydantic-settings' way to one field; unused, since `__call__` gives all."""
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self.values


class FileSource(NestedSource):
    """A TOML file. Relative paths in it are relative to its folder. Raises `ConfigError` if it cannot be read."""

    def __init__(self, settings: type[BaseSettings], path: Path) -> None:
        super().__init__(settings)
        self.path = path
        try:
            self.values = _absolute(tomllib.loads(path.read_text("utf-8")), path.parent)
        except FileNotFoundError:
            hint = "name another with --config or TIDELOG_CONFIG, or set everything in the environment"
            raise ConfigError(f"there is no configuration file {path}", hint=hint) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the configuration file {path} cannot be read: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is no TOML: {error}", hint="texts stand in quotes, tables in brackets") from None

    def origin(self, key: Key) -> str:
        return str(self.path) if self.has(key) else ""


def _absolute(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table with relative file names made relative to ``folder``."""
    fixed: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            fixed[name] = _absolute(value, folder)
        elif isinstance(value, str) and name.endswith("file"):
            fixed[name] = str(folder / value)
        else:
            fixed[name] = value
    return fixed


class EnvironmentSource(NestedSource):
    """``TIDELOG_A__B=value`` sets ``a.b``. Raises `ConfigError` for one that looks like a setting and is none."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._variables: dict[Key, str] = {}
        for variable in sorted(environ):
            if not variable.startswith(ENV_PREFIX) or _NO_SETTINGS.fullmatch(variable):
                continue
            key = tuple(variable.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER))
            if key[0] in settings.model_fields:
                self._put(variable, key, environ[variable])
            else:
                _refuse_stray(variable, key, settings)

    def _put(self, variable: str, key: Key, value: str) -> None:
        table = self.values
        for part in key[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{variable} goes deeper than another variable that already sets a value")
        if isinstance(table.get(key[-1]), dict):
            raise ConfigError(f"{variable} sets a value where other variables set a table")
        table[key[-1]] = value
        self._variables[key] = variable

    def origin(self, key: Key) -> str:
        return self._variables.get(key, "")


def _refuse_stray(variable: str, key: Key, settings: type[BaseSettings]) -> None:
    """Refuses what is meant as a setting: with two underscores, close to a name, or one underscore after a table."""
    fields = list(settings.model_fields)
    table = next((name for name in fields if key[0].startswith(f"{name}_")), None)
    if table and len(key) == 1:
        meant = f"{ENV_PREFIX}{table}__{key[0].removeprefix(table + '_')}".upper()
        raise ConfigError(f"{variable} is no setting", hint=f"two underscores part a table and its keys: {meant}?")
    near = get_close_matches(key[0], fields, n=1, cutoff=0.75)
    if near or len(key) > 1:
        meant = (ENV_PREFIX + ENV_DELIMITER.join((near[0], *key[1:]))).upper() if near else ""
        raise ConfigError(f"{variable} is no setting", hint=f"did you mean {meant}?" if meant else _known(fields))


_NOTHING = object()


def _at(values: Any, key: Key) -> Any:
    for part in key:
        if not isinstance(values, Mapping) or part not in values:
            return _NOTHING
        values = values[part]
    return values


def _known(names: list[str]) -> str:
    return f"known here: {', '.join(sorted(names))}"


def as_config_error(
    error: ValidationError, model: type[BaseModel], sources: tuple[NestedSource, ...], values: Mapping[str, Any]
) -> ConfigError:
    """One `ConfigError` that names every problem: where it stands, its dotted key, what is wrong, what was given."""
    problems = [_problem(details, model, sources, values) for details in error.errors(include_url=False)]
    messages = list(dict.fromkeys(message for message, _ in problems))
    hints = list(dict.fromkeys(hint for _, hint in problems if hint))
    return ConfigError(
        "; ".join(messages), hint="; ".join(hints) or "`tidelog config show` lists what is set, and where"
    )


def _problem(
    details: ErrorDetails, model: type[BaseModel], sources: tuple[NestedSource, ...], values: Mapping[str, Any]
) -> tuple[str, str]:
    key = tuple(str(part) for part in details["loc"] if part != "[key]")
    dotted = ".".join(key) or "the configuration"
    origin = next((found for source in sources if (found := source.origin(key))), "")
    where = f"{origin}: " if origin else ""
    if details["type"] == "extra_forbidden":
        known = list(_fields(model, key[:-1]))
        near = get_close_matches(key[-1], known, n=1)
        return f"{where}unknown setting {dotted}", f"did you mean {near[0]}?" if near else _known(known)
    if details["type"] == "missing":
        return f"{dotted} is not set", ""
    context = details.get("ctx") or {}
    reason = str(context["error"]) if "error" in context else details["msg"].removeprefix("Value error, ")
    given = next((at for source in (*sources,) if (at := _at(source.values, key)) is not _NOTHING), _at(values, key))
    shown = "" if given is _NOTHING or isinstance(given, dict) else f" (got {_shown(model, key, given)})"
    return f"{where}{dotted}: {mask_urls(reason)}{shown}", ""


def _shown(model: type[BaseModel], key: Key, given: Any) -> str:
    secret = any(word in key[-1] for word in ("password", "secret", "token")) or _holds_secret(_field(model, key))
    return "a secret" if secret or isinstance(given, SecretStr) else mask_urls(repr(given))


def _holds_secret(field: FieldInfo | None) -> bool:
    return field is not None and SecretStr in _parts(field.annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _fields(model: type[BaseModel], key: Key) -> Mapping[str, FieldInfo]:
    """The settings of the table at ``key``; empty where that is no table of ours."""
    if not key:
        return model.model_fields
    field = model.model_fields.get(key[0])
    if field is None:
        return {}
    rest = key[2:] if get_origin(field.annotation) is dict else key[1:]
    below = next(
        (part for part in _parts(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)), None
    )
    return _fields(below, rest) if below is not None else {}


def _field(model: type[BaseModel], key: Key) -> FieldInfo | None:
    return _fields(model, key[:-1]).get(key[-1]) if key else None
