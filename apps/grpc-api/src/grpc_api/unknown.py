"""Refuses fields of a request that this release's contract does not have, since they might be what the caller means.

protobuf keeps unknown fields and ignores them. A filter of a newer contract would be answered with the books of
everybody, and so would an author that comes as a number. docs/decisions/0044 gives the reasons.
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from grpc_api.checks import InvalidFields, Violation


def refuse_what_is_unknown(request: Message) -> None:
    """Raises InvalidFields, which names by its number what has no name: `filter.8`."""
    if unknown := list(dict.fromkeys(_unknown(request, ""))):
        raise InvalidFields(unknown)


def _unknown(message: Message, path: str) -> Iterator[Violation]:
    known = message.DESCRIPTOR.fields_by_number
    for field in UnknownFieldSet(message):  # type: ignore[attr-defined]  # its stubs leave that out
        if field.field_number in known:
            yield Violation(f"{path}{known[field.field_number].name}", "must be of its type")
        else:
            yield Violation(f"{path}{field.field_number}", "is not known to this service")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _unknown(each, f"{path}{field.name}.")
