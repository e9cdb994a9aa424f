"""One error of each class, whatever it must be told."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from string import Formatter
from typing import Any, Final, TypeVar, get_origin, get_type_hints
from uuid import UUID

E = TypeVar("E", bound=Exception)

_BY_TYPE: Final[Mapping[Any, object]] = {
    int: 3,
    str: "x",
    bool: True,
    object: "x",
    UUID: UUID(int=1),
    Path: Path("x"),
    HTTPStatus: HTTPStatus.CONFLICT,
    Mapping: {"x": 1},
    Sequence: [],
}


def kinds_of(kind: type[E]) -> Iterator[type[E]]:
    """The class, and all that come from it."""
    yield kind
    for each in kind.__subclasses__():
        yield from kinds_of(each)


def an_error(kind: type[E], **known: object) -> E:
    """An error of this class, told what its constructor must be told: ``known`` by name, the rest by type."""
    if not inspect.isfunction(kind.__init__):
        return kind()
    types = get_type_hints(kind.__init__)
    given: dict[str, object] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in known:
            given[name] = known[name]
        elif parameter.kind is parameter.VAR_KEYWORD:
            given |= {name: "x" for _, name, _, _ in Formatter().parse(kind.__doc__ or "") if name}
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            given[name] = _BY_TYPE[get_origin(types[name]) or types[name]]
    return kind(**given)
