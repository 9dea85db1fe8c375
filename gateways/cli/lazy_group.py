"""A group of commands whose modules are imported when they are asked for: a command starts without what others need."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup


class LazyGroup(TyperGroup):
    """A subclass says in ``modules`` where each command is: in a module beside this one, whose ``app`` is a group, or
    holds a single command of that name."""

    modules: ClassVar[Mapping[str, str]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Imported(self.modules)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the base class names it)
        return list(self.modules)


class _Imported(Mapping[str, Any]):
    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._found:
            app = import_module(f"{__package__}.{self._modules[name]}").app
            command = typer.main.get_group(app)
            self._found[name] = command.commands.get(name, command)
            command.name = name
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
