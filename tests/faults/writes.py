"""What the writers have asked for, what they were told, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

Kind = Literal["created", "updated", "deleted"]


class Outcome(Enum):
    """What a writer knows after an attempt."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class Book(NamedTuple):
    """A book at one of its versions."""

    id: int
    title: str
    author: str
    publication_date: str
    version: int

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether all of these are as they are given."""
        return fields.items() <= self._asdict().items()

    def with_fields(self, fields: Mapping[str, str]) -> "Book":
        """The next version, in which these are as they are given."""
        return Book(**{**self._asdict(), **fields, "version": self.version + 1})


class Entry(NamedTuple):
    """A change of a book, as the log has it."""

    kind: Kind
    actor: str
    book: Book


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request and its answer, if there was one."""

    sent_at: float
    ended_at: float
    answer: str
    """The status and the kind of problem, or how the request failed."""
    outcome: Outcome
    version: int | None = None
    """That of the answer's ETag."""
    book: Book | None = None
    """What the answer shows."""


@dataclass(eq=False)
class Write:
    """What somebody wants done, however often it takes to ask. No two writes have a title or an author in common."""

    actor: str
    kind: Kind
    fields: Mapping[str, str] = field(default_factory=dict)
    book_id: int | None = None
    if_match: int | None = None
    key: str | None = None
    """The idempotency key."""
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def method(self) -> str:
        if self.kind == "updated":
            return "PUT" if len(self.fields) == len(("title", "author", "publication_date")) else "PATCH"
        return {"created": "POST", "deleted": "DELETE"}[self.kind]

    @property
    def may_be_repeated(self) -> bool:
        """When its outcome is unknown: it has a key or a condition, or is idempotent by RFC 9110, section 9.2.2."""
        return self.key is not None or self.if_match is not None or self.method in {"PUT", "DELETE"}

    def count(self, outcome: Outcome) -> int:
        return sum(attempt.outcome is outcome for attempt in self.attempts)

    def __str__(self) -> str:
        book = f" book {self.book_id}" if self.book_id else ""
        fields = "".join(f", {name} {text!r}" for name, text in self.fields.items())
        condition = f", if at {self.if_match}" if self.if_match else ""
        answers = ", ".join(attempt.answer for attempt in self.attempts)
        return f"{self.method}{book}{fields}{condition} ({answers})"
