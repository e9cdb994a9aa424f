"""What is wrong with a request: gathered field by field, so that the caller is told of all of it at once."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, ParamSpec, Self, TypeVar

from book_runtime.errors import DocumentedError

P = ParamSpec("P")
T = TypeVar("T")

_VIOLATIONS_IN_MESSAGE: Final = 3
"""The details name more of them, for programs."""


class Violation(NamedTuple):
    """One field of a request, and what should hold for it."""

    field: str
    """Its path in the request, as in AIP-193: `page_size`, `filter.author`, `ids[3]`."""

    rule: str
    """A clause that follows the name of the field: `must be 1 or more`. Plain words, nothing that was sent."""


class InvalidFields(DocumentedError):
    """{named}."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        named = [f"{field} {rule}" for field, rule in violations[:_VIOLATIONS_IN_MESSAGE]]
        if more := len(violations) - len(named):
            named.append(f"and {more} more")
        self.named = "; ".join(named)


class Checks:
    """A block in which the fields of a request are read. At its end it raises InvalidFields if any of them is wrong.

    What is read of a wrong field must not be used before.
    """

    __slots__ = ("_violations",)

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._violations and error is None:
            raise InvalidFields(self._violations)

    def that(self, holds: bool, field: str, rule: str) -> None:  # what holds is no option
        """Notes the field as wrong unless ``holds``."""
        if not holds:
            self._violations.append(Violation(field, rule))

    def read(self, field: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What ``read`` makes of a field, or None where it raises ValueError, whose text is the rule."""
        try:
            return read(*args, **kwargs)
        except ValueError as error:
            self._violations.append(Violation(field, str(error)))
            return None
