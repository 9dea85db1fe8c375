"""Errors of a store name its site and group in their hints: filled in here once, for every method of a store."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tidelog.errors import TidelogError
from tidelog.stores.store import Identity

Class = TypeVar("Class")


@contextmanager
def placed(identity: Identity) -> Iterator[None]:
    """Lets errors through, their hints filled in with the site and group of a store."""
    try:
        yield
    except TidelogError as error:
        error.at_site(identity.site, identity.group)
        raise


def placing(of: type[Class]) -> type[Class]:
    """A class decorator: every public method of ``of``, whose instances have an ``identity``, as inside `placed`; of a
    generator also what it raises as it goes on."""
    for name, method in list(vars(of).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(of, name, _generator(method) if inspect.isgeneratorfunction(method) else _function(method))
    return of


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def inside(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return method(self, *arguments, **named)
        except TidelogError as error:
            error.at_site(self.identity.site, self.identity.group)
            raise

    return inside


def _generator(method: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @functools.wraps(method)
    def inside(self: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        with placed(self.identity):
            yield from method(self, *arguments, **named)

    return inside
