"""The names that publishers and consumers of book events agree on: docs/events.md explains them."""

from typing import Final

EXCHANGE: Final = "books.events"
"""The topic exchange that every event of a book goes to."""

CREATED: Final = "book.created"
UPDATED: Final = "book.updated"
DELETED: Final = "book.deleted"
"""Routing keys, and CloudEvents types at the same time."""

ALL_EVENTS: Final = "book.*"
"""The binding key for whoever wants them all."""

CONTENT_TYPE: Final = "application/protobuf"
"""Of the body, a books.v1.BookEvent."""

DATA_SCHEMA: Final = "books.v1.BookEvent"
"""The full name of the body's message: CloudEvents' dataschema."""

SOURCE: Final = "/colophon/catalogue"
"""CloudEvents' source: the context in which the events happen."""
