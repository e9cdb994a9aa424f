"""The names that publishers and consumers of book events agree on: docs/events.md explains them."""

from typing import Final

EXCHANGE: Final = "books.events"
"""The topic exchange that every event of a book goes to."""

CREATED: Final = "book.created"
UPDATED: Final = "book.updated"
DELETED: Final = "book.deleted"
"""Routing keys, and CloudEvents types at the same time: what ``type_of`` gives."""

ALL_EVENTS: Final = "book.*"
"""The binding key for all events."""

CONTENT_TYPE: Final = "application/protobuf"
"""Of the body, a books.v1.BookEvent."""

SPEC_VERSION: Final = "1.0"
"""Of CloudEvents."""

HEADER_PREFIX: Final = "cloudEvents:"
"""Stands before the name of each CloudEvents attribute in the headers, as its binding to AMQP has it."""

DATA_SCHEMA: Final = "https://type.googleapis.com/books.v1.BookEvent"
"""CloudEvents' dataschema: the type URL of the body's message, as google.protobuf.Any takes it, with its scheme."""

SOURCE: Final = "/colophon/catalogue"
"""CloudEvents' source: the context in which the events happen."""


def type_of(kind: str) -> str:
    """The routing key of an event, and its CloudEvents type."""
    return f"book.{kind}"
