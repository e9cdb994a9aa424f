from books.v1 import book_pb2 as _book_pb2
from books.v1 import book_event_pb2 as _book_event_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetBookRequest(_message.Message):
    __slots__ = ("id", "read_mask")
    ID_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    id: int
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, id: _Optional[int] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class GetBookResponse(_message.Message):
    __slots__ = ("book",)
    BOOK_FIELD_NUMBER: _ClassVar[int]
    book: _book_pb2.Book
    def __init__(self, book: _Optional[_Union[_book_pb2.Book, _Mapping]] = ...) -> None: ...

class BatchGetBooksRequest(_message.Message):
    __slots__ = ("ids", "read_mask")
    IDS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class BatchGetBooksResponse(_message.Message):
    __slots__ = ("books",)
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[_book_pb2.Book]
    def __init__(self, books: _Optional[_Iterable[_Union[_book_pb2.Book, _Mapping]]] = ...) -> None: ...

class ListBooksRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "order_by", "read_mask")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: BookFilter
    order_by: str
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[BookFilter, _Mapping]] = ..., order_by: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class BookFilter(_message.Message):
    __slots__ = ("author", "author_prefix", "title", "title_prefix", "words", "published_from", "published_to")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_PREFIX_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TITLE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FROM_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_TO_FIELD_NUMBER: _ClassVar[int]
    author: str
    author_prefix: str
    title: str
    title_prefix: str
    words: str
    published_from: _book_pb2.Date
    published_to: _book_pb2.Date
    def __init__(self, author: _Optional[str] = ..., author_prefix: _Optional[str] = ..., title: _Optional[str] = ..., title_prefix: _Optional[str] = ..., words: _Optional[str] = ..., published_from: _Optional[_Union[_book_pb2.Date, _Mapping]] = ..., published_to: _Optional[_Union[_book_pb2.Date, _Mapping]] = ...) -> None: ...

class ListBooksResponse(_message.Message):
    __slots__ = ("books", "next_page_token")
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[_book_pb2.Book]
    next_page_token: str
    def __init__(self, books: _Optional[_Iterable[_Union[_book_pb2.Book, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchBooksRequest(_message.Message):
    __slots__ = ("after", "book_ids", "author")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BOOK_IDS_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    after: int
    book_ids: _containers.RepeatedScalarFieldContainer[int]
    author: str
    def __init__(self, after: _Optional[int] = ..., book_ids: _Optional[_Iterable[int]] = ..., author: _Optional[str] = ...) -> None: ...

class WatchBooksResponse(_message.Message):
    __slots__ = ("position", "event")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    position: int
    event: _book_event_pb2.BookEvent
    def __init__(self, position: _Optional[int] = ..., event: _Optional[_Union[_book_event_pb2.BookEvent, _Mapping]] = ...) -> None: ...
