"""The rows of a CSV file, plain or gzipped, each with the lines it stands on; hardly ever more than one in memory."""

import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from book_runtime.delimited.lines import Line, Lines, undecodable
from book_runtime.delimited.records import Record, Records

from colophon.importing.encoding import WrongEncoding, encoding_of, is_wide, other_than, shown

# A column that is not asked for may be long: a whole abstract, a table of contents.
MAX_ROW_BYTES: Final = 16 * 2**20
BLOCK_BYTES: Final = 2**16

_GZIP: Final = b"\x1f\x8b"
_MAX_MARK_BYTES: Final = 4


class UnreadableFile(Exception):
    """The file cannot be read on; the text is for the user. `line` is the first one that was not read."""

    def __init__(self, reason: str, *, line: int = 1) -> None:
        self.line = line
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file: the lines it stands on, counted from 1, and its fields."""

    line: int
    last_line: int
    fields: list[str]
    """Bytes that are not in the encoding of the file are lone surrogates in them."""
    malformed: str = ""
    """What is wrong with it as CSV; its text is the only field then."""
    encoding_in_doubt: str = ""
    """What to do about the encoding, if this row has bytes that are not in it and nothing before has confirmed it."""


class Table:
    """An open CSV file: its header has been read, its rows can be iterated once."""

    def __init__(
        self,
        raw: BinaryIO,
        unpacked: BufferedIOBase,
        *,
        delimiter: str | None,
        encoding: str | None,
        columns: Collection[str],
    ) -> None:
        self._raw = raw
        self._lines_read = 0
        with self._failures_with_their_line():
            head = _head_of(unpacked)
            self._encoding = encoding_of(head, encoding)
        self._encoding_is_sure = is_wide(self._encoding)
        self._records = Records(delimiter, names=columns, longest=MAX_ROW_BYTES)
        self._rows = self._read(self._lines(head, unpacked))
        self.size = os.fstat(raw.fileno()).st_size
        self.header = self._read_header(columns)

    @property
    def position(self) -> int:
        """How many of the `size` bytes have been read; 0 of a pipe, whose size is 0."""
        return self._raw.tell() if self._raw.seekable() else 0

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def expect(self, is_row: Callable[[Sequence[str]], bool]) -> None:
        """``is_row`` says whether fields are certainly a row of this file: that tells stray quotes from others."""
        self._records.expect(is_row)

    def _read_header(self, columns: Collection[str]) -> list[str]:
        row = next(self._rows, None)
        if row is None:
            raise UnreadableFile("the file is empty: it needs a header and rows")
        if row.malformed:
            raise UnreadableFile(f"line {row.line}, the header, is {row.malformed}", line=row.line)
        header = [name.strip() for name in row.fields]
        if row.encoding_in_doubt and not set(columns) <= set(header):
            raise UnreadableFile(row.encoding_in_doubt, line=row.line)
        return header

    def _read(self, lines: Iterable[Line]) -> Iterator[Row]:
        for line in lines:
            self._lines_read = line.number
            broken = undecodable(line.text)
            self._encoding_is_sure |= broken is None and not line.text.isascii()
            for record in self._records.feed(line):
                yield self._row(record)
        for record in self._records.end():
            yield self._row(record)

    def _row(self, record: Record) -> Row:
        doubt = "" if self._encoding_is_sure else self._doubt_about(record)
        return Row(record.line, record.last_line, record.fields, record.fault, doubt)

    def _doubt_about(self, record: Record) -> str:
        text = "".join(record.fields)
        if not (broken := undecodable(text)):
            return ""
        return (
            f"line {record.line} is not {shown(self._encoding)} (byte 0x{broken[0]:02X}); "
            f"{other_than(self._encoding, text)}"
        )

    def _lines(self, head: bytes, unpacked: BufferedIOBase) -> Iterator[Line]:
        lines = Lines(self._encoding, MAX_ROW_BYTES)
        piece = head
        while piece:
            with self._failures_with_their_line():
                cut = list(lines.feed(piece))
            yield from cut
            with self._failures_with_their_line():
                piece = unpacked.read1(BLOCK_BYTES)
        yield from lines.last()

    @contextmanager
    def _failures_with_their_line(self) -> Iterator[None]:
        line = self._lines_read + 1
        try:
            yield
        except WrongEncoding as error:
            raise UnreadableFile(str(error)) from error
        except UnicodeError as error:
            raise UnreadableFile(f"line {line} is not {shown(self._encoding)} ({error})", line=line) from error
        except EOFError as error:
            raise UnreadableFile(f"the compressed file breaks off after line {line - 1}", line=line) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"the compressed file is damaged after line {line - 1}: {error}", line=line) from error
        except OSError as error:
            raise UnreadableFile(f"reading failed after line {line - 1}: {error.strerror}", line=line) from error


@contextmanager
def open_table(
    path: Path, *, delimiter: str | None = None, encoding: str | None = None, columns: Collection[str] = ()
) -> Iterator[Table]:
    """Opens a CSV file, which may be compressed with gzip. Raises UnreadableFile, now or when iterating.

    Without an ``encoding`` it is UTF-8, or what a byte order mark says. Without a ``delimiter`` it is found out, by the
    ``columns`` that are to be in the header.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{error.strerror}") from error
    with raw:
        yield Table(raw, _unpacked(raw), delimiter=delimiter, encoding=encoding, columns=columns)


def _unpacked(raw: BufferedReader) -> BufferedIOBase:
    # By what it is, not by what it is called.
    is_packed = raw.peek(len(_GZIP)).startswith(_GZIP)
    return gzip.GzipFile(fileobj=raw) if is_packed else raw


def _head_of(unpacked: BufferedIOBase) -> bytes:
    """What a file begins with. A pipe may give less than there is."""
    head = b""
    while len(head) < _MAX_MARK_BYTES and (piece := unpacked.read1(BLOCK_BYTES)):
        head += piece
    return head
