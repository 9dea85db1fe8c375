"""Writes docs/reference/ from the code: `make docs`. What it writes is committed, and a test says when it is old.

Each page is one function here that returns its text; nothing is said in it that the code does not say.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from tidelog.config import Config
from tidelog.gateways.cli.application import app
from tidelog.gateways.cli.exit_codes import EXIT_CODES, NAGIOS, NAGIOS_MEANINGS
from tidelog.gateways.metrics.page import page as metrics
from tidelog.schemas.events import EVENT_TYPES
from tidelog.schemas.registry import Schema, schemas
from tidelog.units import Size

FOLDER = Path(__file__).parent / "reference"
_KINDS: dict[Any, str] = {
    str: "text",
    int: "number",
    float: "duration",
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "secret",
}
_WORDS: dict[Any, str] = {str: "TEXT", int: "NUMBER", float: "NUMBER"}


def _page(title: str, *parts: str) -> str:
    head = f"# {title}\n\n<!-- Written by docs/generate.py (make docs): change the code, not this page. -->"
    return "\n\n".join([head, *parts]) + "\n"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)])


def configuration() -> str:
    """Every setting: its path in the file, its type, its default, its variable."""
    rows = [
        [f"`{path}`", kind, default, f"`TIDELOG_{path.upper().replace('.', '__')}`"]
        for path, kind, default in _settings(Config, "")
    ]
    return _page(
        "Reference: every setting",
        "What each one means, and an example: [configuration.md](../configuration.md). `SITE` and `GROUP` stand for"
        " names. Of a size or a duration the default is in bytes or in seconds.",
        _table(["setting", "type", "default", "in the environment"], rows),
    )


def _settings(model: type[BaseModel], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        if (table := _table_of(field.annotation)) is not None:
            many = {"sites": ".SITE", "groups": ".GROUP"}.get(here, "")
            yield from _settings(table, f"{here}{many}.")
            continue
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        yield here, _kind(field.annotation, field.metadata), default


def _table_of(kind: Any) -> type[BaseModel] | None:
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined or value in ({}, ()):
        return "none"
    return f"`{','.join(value) if isinstance(value, tuple) else json.dumps(value).strip(chr(34))}`"


def _kind(kind: Any, rules: Sequence[Any] = ()) -> str:
    if get_args(Size)[1] in rules:
        return "size"
    arguments = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is tuple:
        return "list of " + _kind(arguments[0])
    if arguments and all(isinstance(part, str) for part in arguments):
        return " or ".join(f"`{part}`" for part in arguments)
    if get_origin(kind) in (Annotated, Union, UnionType):
        return _kind(arguments[0], arguments[1:])
    return _KINDS.get(kind, "table")


def commands() -> str:
    """Every command with its arguments and options, as its own ``--help`` has them."""
    parts = [
        "What stays true of all of them, and what each does: [cli.md](../cli.md)."
        " Exit codes: [exit-codes.md](exit-codes.md).",
        *_commands(typer.main.get_command(app), ("tidelog",)),
    ]
    return _page("Reference: every command", *parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is not None:
        for name in sorted(below):
            yield from _commands(below[name], (*path, name))
        return
    usage = " ".join([*path, *(["[OPTIONS]"] if _named(command, "option") else []), *_arguments(command)])
    yield f"## `{' '.join(path)}`"
    yield " ".join((command.help or "").split())
    yield f"```\n{usage}\n```"
    rows = [[_spelling(one), _meaning(one)] for kind in ("argument", "option") for one in _named(command, kind)]
    if rows:
        yield _table(["argument or option", "meaning"], rows)


def _named(command: Any, kind: str) -> list[Any]:
    return [one for one in command.params if one.param_type_name == kind and not getattr(one, "hidden", False)]


def _arguments(command: Any) -> list[str]:
    names = ((one, (one.metavar or one.name).upper()) for one in _named(command, "argument"))
    return [name if one.required else f"[{name}]" for one, name in names]


def _spelling(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"`{(one.metavar or one.name).upper()}`"
    flags = ", ".join(f"`{flag}`" for flag in (*one.opts, *one.secondary_opts))
    if getattr(one, "is_flag", False):
        return flags
    kind = one.type_descriptor.annotation
    return f"{flags} {one.metavar or _WORDS.get(kind, kind.__name__.upper())}"


def _meaning(one: Any) -> str:
    text = " ".join((one.help or "").split())
    shown = one.default not in (None, False, (), []) and not callable(one.default)
    notes = (["required"] if one.required else []) + ([f"default: `{one.default}`"] if shown else [])
    return f"{text} ({'; '.join(notes)})".strip() if notes else text


def events() -> str:
    """Every record, with the docs of its Avro schema."""
    in_log = EVENT_TYPES.keys()
    log = [schema for schema in schemas().values() if schema.name in in_log]
    control = [schema for schema in schemas().values() if schema.name not in in_log]
    return _page(
        "Reference: every record",
        "Each is one Avro record in single-object encoding: `C3 01`, the fingerprint (CRC-64-AVRO,"
        " little-endian), the body. The schemas themselves are `schemas/*.avsc`, and stand in the topic"
        " `<prefix>-schemas`.",
        "## In a group's log, one topic with one partition",
        *(_record(schema) for schema in log),
        "## On the control topic, which is compacted",
        *(_record(schema) for schema in control),
    )


def _record(schema: Schema) -> str:
    found = json.loads(schema.text)
    rows = [[f"`{field['name']}`", _avro(field["type"]), field.get("doc", "")] for field in found["fields"]]
    head = f"### `{schema.name}`\n\nFingerprint `{schema.fingerprint.hex()}`. {found.get('doc', '')}"
    return f"{head}\n\n{_table(['field', 'type', 'meaning'], rows)}"


def _avro(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_avro(part) for part in kind)
    if isinstance(kind, str):
        return kind
    if kind["type"] == "array":
        return f"array of {_avro(kind['items'])}"
    if kind["type"] == "map":
        return f"map of {_avro(kind['values'])}"
    if kind["type"] == "record":
        return f"{kind['name']} ({', '.join(field['name'] + ': ' + _avro(field['type']) for field in kind['fields'])})"
    return {"fixed": f"{kind.get('size')} bytes", "enum": f"one of {', '.join(kind.get('symbols', ()))}"}.get(
        kind["type"], str(kind["type"])
    )


def exit_codes() -> str:
    """What each exit code of the command line means."""
    rows = [[str(code), meaning] for code, meaning in sorted(EXIT_CODES.items())]
    nagios = [[str(code), word, NAGIOS_MEANINGS[word]] for word, code in NAGIOS.items()]
    return _page(
        "Reference: exit codes",
        _table(["code", "meaning"], rows),
        "## `tidelog check --nagios`\n\nIts exit codes are Nagios' own:",
        _table(["code", "word", "meaning"], nagios),
    )


PAGES: dict[str, Callable[[], str]] = {
    "metrics.md": metrics,
    "configuration.md": configuration,
    "commands.md": commands,
    "events.md": events,
    "exit-codes.md": exit_codes,
}


def main() -> int:
    """Writes every page; says which have changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
