"""What the messages of ``book_contracts`` are: betterproto2's, of which nothing gets lost on the way.

betterproto2 0.10 writes an integer that is too large for its field as another one, leaves out a False that stands for a
number, and has a JSON of its own where protobuf has a special one (a FieldMask). Here a message that cannot be written
as it is raises, whichever client sends it, and JSON is protobuf's.
"""

from collections.abc import Mapping
from typing import Any, Self

import betterproto2
from google.protobuf import json_format

from book_contracts.checking import check, class_of


class Message(betterproto2.Message):
    """A message of the contract.

    Written, as bytes or as JSON, it raises InvalidRequest where a field cannot hold what is in it. Read from JSON it
    raises ValueError for what is no such message, with the name of the field. JSON, and the dictionaries that stand for
    it, are those of https://protobuf.dev/programming-guides/json/.
    """

    def __bytes__(self) -> bytes:
        check(self)
        return super().__bytes__()

    def to_dict(
        self,
        *,
        output_format: betterproto2.OutputFormat = betterproto2.OutputFormat.PROTO_JSON,
        casing: betterproto2.Casing = betterproto2.Casing.CAMEL,
        include_default_values: bool = False,
    ) -> dict[str, Any]:
        if output_format is betterproto2.OutputFormat.PYTHON:
            return super().to_dict(
                output_format=output_format, casing=casing, include_default_values=include_default_values
            )
        try:
            return json_format.MessageToDict(
                class_of(type(self)).FromString(bytes(self)),
                preserving_proto_field_name=casing is betterproto2.Casing.SNAKE,
                always_print_fields_with_no_presence=include_default_values,
            )
        except json_format.SerializeToJsonError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | Any, *, ignore_unknown_fields: bool = False) -> Self:
        return cls._read(json_format.ParseDict, value, ignore_unknown_fields)

    @classmethod
    def from_json(cls, value: str | bytes, *, ignore_unknown_fields: bool = False) -> Self:
        # Not by way of from_dict: a field that stands there twice would be there once.
        return cls._read(json_format.Parse, value, ignore_unknown_fields)

    @classmethod
    def _read(cls, parse: Any, value: Any, ignore_unknown_fields: bool) -> Self:
        message = class_of(cls)()
        try:
            parse(value, message, ignore_unknown_fields=ignore_unknown_fields)
        except json_format.ParseError as error:
            raise ValueError(str(error)) from error
        return cls.parse(message.SerializeToString())
