"""Books as protobuf, whole or in part."""

from book_contracts import codec
from book_db.book import Book
from books.v1 import book_pb2
from google.protobuf.field_mask_pb2 import FieldMask


def write_book(book: Book, message: book_pb2.Book, mask: FieldMask | None = None) -> None:
    """Fills an empty message, in place. With a mask only the fields that it names."""
    if mask is None:
        codec.write_book(book, message)
        return
    whole = book_pb2.Book()
    codec.write_book(book, whole)
    mask.MergeMessage(whole, message)
