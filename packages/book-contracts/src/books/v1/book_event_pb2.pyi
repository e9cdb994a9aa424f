import datetime

from books.v1 import book_pb2 as _book_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BookEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOOK_EVENT_KIND_UNSPECIFIED: _ClassVar[BookEventKind]
    BOOK_EVENT_KIND_CREATED: _ClassVar[BookEventKind]
    BOOK_EVENT_KIND_UPDATED: _ClassVar[BookEventKind]
    BOOK_EVENT_KIND_DELETED: _ClassVar[BookEventKind]
BOOK_EVENT_KIND_UNSPECIFIED: BookEventKind
BOOK_EVENT_KIND_CREATED: BookEventKind
BOOK_EVENT_KIND_UPDATED: BookEventKind
BOOK_EVENT_KIND_DELETED: BookEventKind

class BookEvent(_message.Message):
    __slots__ = ("id", "kind", "time", "actor", "book")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    BOOK_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: BookEventKind
    time: _timestamp_pb2.Timestamp
    actor: str
    book: _book_pb2.Book
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[BookEventKind, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., book: _Optional[_Union[_book_pb2.Book, _Mapping]] = ...) -> None: ...
