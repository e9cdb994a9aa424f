"""Whether a message can be written as it is: with the values of its fields, and not with others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, NamedTuple

import betterproto2
from books.v1 import book_event_pb2, book_pb2, book_service_pb2
from google.protobuf import field_mask_pb2, message, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from book_contracts.errors import InvalidRequest, Violation

_FILES: Final = (book_pb2, book_event_pb2, book_service_pb2, field_mask_pb2, timestamp_pb2)
_PACKAGE: Final = "book_contracts.messages."

_REASON: Final = "INVALID_FIELD"
"""ErrorInfo.reason, as the service gives it for a field that is wrong."""

_VIOLATIONS_IN_TEXT: Final = 3
"""The violations are there for programs, all of them."""


def check(asked: betterproto2.Message) -> None:
    """Raises InvalidRequest, which names each field that cannot hold what is in it by its path, as the service does."""
    if wrong := list(_violations(asked, "")):
        raise _invalid(wrong)


def invalid(field: str, rule: str) -> InvalidRequest:
    """The error of one field. The rule is a clause that follows its name: `must be 1 or more`."""
    return _invalid([_violation(field, rule)])


def is_unicode(text: str) -> bool:
    """Not where Python was given bytes, as an argument say, that are not UTF-8: they become surrogates (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def class_of(kind: type[betterproto2.Message]) -> type[message.Message]:
    """protobuf's own class of the same message, with which it shares the contract."""
    package = kind.__module__.removeprefix(_PACKAGE)
    known = {
        f"{file.DESCRIPTOR.package}.{name}": descriptor
        for file in _FILES
        for name, descriptor in file.DESCRIPTOR.message_types_by_name.items()
    }
    return GetMessageClass(known[f"{package}.{kind.__name__}"])


def _invalid(wrong: Sequence[Violation]) -> InvalidRequest:
    named = [f"{each.field} {each.description}" for each in wrong[:_VIOLATIONS_IN_TEXT]]
    if more := len(wrong) - len(named):
        named.append(f"and {more} more")
    return InvalidRequest(wrong, f"{'; '.join(named)}.", reason=_REASON, metadata={"field": wrong[0].field})


def _violation(field: str, rule: str) -> Violation:
    return Violation(field, rule, _REASON)


def _violations(asked: betterproto2.Message, path: str) -> Iterator[Violation]:
    for field in _fields_of(type(asked)):
        value, place = getattr(asked, field.name), f"{path}{field.name}"
        if field.is_repeated and not isinstance(value, list | tuple):
            yield _violation(place, "must be a list")
        elif field.is_repeated:
            for index, each in enumerate(value):
                yield from _violations_of(field, each, f"{place}[{index}]")
        elif value is not None or not field.has_presence:
            yield from _violations_of(field, value, place)


def _violations_of(field: "_Field", value: Any, place: str) -> Iterator[Violation]:
    if isinstance(value, betterproto2.Message) and class_of(type(value)).DESCRIPTOR is field.message_type:
        yield from _violations(value, f"{place}.")
    elif rule := field.rule_broken(value):
        yield _violation(place, rule)


class _Field(NamedTuple):
    """What has to be known of a field. To ask its descriptor each time takes several times as long."""

    name: str
    is_repeated: bool
    has_presence: bool
    message_type: Any
    """A descriptor, or None."""
    rule_broken: Callable[[Any], str | None]
    """By a value that is no message of its type."""


@cache
def _fields_of(kind: type[betterproto2.Message]) -> list[_Field]:
    # protobuf's stubs have two kinds of descriptors, which are one at work.
    fields: Sequence[Any] = class_of(kind).DESCRIPTOR.fields
    return [_Field(f.name, f.is_repeated, f.has_presence, f.message_type, _rule_of(f)) for f in fields]


def _rule_of(field: Any) -> Callable[[Any], str | None]:
    if field.message_type is None:
        return _RULES[field.type]
    # The one message for which betterproto2 has a type of Python's.
    is_time = field.message_type is timestamp_pb2.Timestamp.DESCRIPTOR
    return _time if is_time else lambda _: f"must be a {field.message_type.name}"


def _time(value: Any) -> str | None:
    return None if isinstance(value, datetime) and value.tzinfo else "must be a datetime with a time zone"


def _integer(value: Any, *, bits: int) -> str | None:
    # bool is an int for Python, and nobody means one by it here.
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be an integer"
    return None if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else f"must be an integer of {bits} bits"


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a text"
    return None if is_unicode(value) else "must be Unicode text: there are bytes in it that were not UTF-8"


_RULES: Final[Mapping[int, Callable[[Any], str | None]]] = {
    FieldDescriptor.TYPE_INT32: partial(_integer, bits=32),
    FieldDescriptor.TYPE_INT64: partial(_integer, bits=64),
    FieldDescriptor.TYPE_ENUM: partial(_integer, bits=32),
    FieldDescriptor.TYPE_STRING: _text,
}
"""A field of a type that comes into the contract needs a line here."""
