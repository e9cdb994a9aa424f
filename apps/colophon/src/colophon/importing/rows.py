"""The rows of a CSV file, plain or gzipped, each with the line it starts on; never more than one in memory."""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TextIO, cast

# A column that is not asked for may be long: a whole abstract, a table of contents. The default is 128 KiB.
LONGEST_FIELD: Final = 16 * 2**20
SAMPLE: Final = 4096

_GZIP: Final = b"\x1f\x8b"
_UNDECODABLE: Final = re.compile("[\udc80-\udcff]")


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
    malformed: str = ""
    """What is wrong with it as CSV; the fields are not known then."""


class Table:
    """An open CSV file: its header has been read, its rows can be iterated once."""

    def __init__(self, raw: BinaryIO, text: TextIO, *, delimiter: str, encoding: str) -> None:
        self._raw = raw
        self._encoding = encoding
        self._lines_read = 0
        csv.field_size_limit(LONGEST_FIELD)
        # Strict: what is no CSV is refused with its line instead of being read as something else.
        self._reader = csv.reader(self._lines(text), delimiter=delimiter, strict=True)
        self.size = os.fstat(raw.fileno()).st_size
        self.header = self._read_header()

    @property
    def position(self) -> int:
        """How many of the `size` bytes have been read; 0 of a pipe, whose size is 0."""
        return self._raw.tell() if self._raw.seekable() else 0

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self._rows() if row.fields or row.malformed)

    def _rows(self) -> Iterator[Row]:
        while True:
            line = self._lines_read + 1
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._malformed(line, error)
            else:
                yield Row(line, self._lines_read, fields)

    def _malformed(self, line: int, error: csv.Error) -> Row:
        if "field limit" in str(error):
            raise UnreadableFile(
                f"the row that starts in line {line} has a field of more than {LONGEST_FIELD:,} characters: "
                "is there a quote that nothing closes?",
                line=line,
            ) from error
        reason = "a quote is opened that nothing closes" if "unexpected end" in str(error) else str(error)
        return Row(line, self._lines_read, [], f"not valid CSV: {reason}")

    def _read_header(self) -> list[str]:
        row = next(iter(self), None)
        if row is None:
            raise UnreadableFile("the file is empty: it needs a header and rows")
        if row.malformed:
            raise UnreadableFile(f"line {row.line}, the header, is {row.malformed}", line=row.line)
        return [name.strip() for name in row.fields]

    def _lines(self, text: TextIO) -> Iterator[str]:
        while True:
            with self._failures_with_their_line():
                line = text.readline()
            if not line:
                return
            if not line.isascii() and (broken := _UNDECODABLE.search(line)):
                raise self._not_decodable(f"byte 0x{ord(broken[0]) - 0xDC00:02X}")
            self._lines_read += 1
            yield line

    @contextmanager
    def _failures_with_their_line(self) -> Iterator[None]:
        line = self._lines_read + 1
        try:
            yield
        except UnicodeError as error:
            raise self._not_decodable(getattr(error, "reason", str(error))) from error
        except EOFError as error:
            raise UnreadableFile(f"the compressed file breaks off after line {line - 1}", line=line) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"the compressed file is damaged after line {line - 1}: {error}", line=line) from error
        except OSError as error:
            raise UnreadableFile(f"reading failed after line {line - 1}: {error.strerror}", line=line) from error

    def _not_decodable(self, reason: str) -> UnreadableFile:
        line = self._lines_read + 1
        name = self._encoding.removesuffix("-sig").upper()
        return UnreadableFile(
            f"line {line} is not {name} ({reason}); name the file's encoding with --encoding, cp1252 for instance",
            line=line,
        )


@contextmanager
def open_table(path: Path, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> Iterator[Table]:
    """Opens a CSV file, which may be compressed with gzip. Raises UnreadableFile, now or when iterating."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{error.strerror}") from error
    with raw:
        unpacked = _unpacked(raw)
        with _as_text(unpacked, encoding) as text:
            yield Table(raw, text, delimiter=delimiter, encoding=encoding)


def _unpacked(raw: io.BufferedReader) -> BinaryIO:
    # By what it is, not by what it is called.
    is_packed = raw.peek(len(_GZIP)).startswith(_GZIP)
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_packed else raw


def _as_text(unpacked: BinaryIO, encoding: str) -> TextIO:
    buffered = io.BufferedReader(cast(io.RawIOBase, unpacked), SAMPLE)
    try:
        sample = buffered.peek(SAMPLE)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFile(f"the compressed file is damaged: {error}") from error
    if b"\0" in sample and not re.match("utf.?(16|32)", encoding, re.IGNORECASE):
        raise UnreadableFile("this is not a text file; a spreadsheet has to be saved as CSV first")
    # With escapes instead of an error the line can be named that a bad byte stands on, not only its block.
    escapes = "surrogateescape" if encoding.lower().startswith(("utf-8", "utf8", "ascii")) else "strict"
    return io.TextIOWrapper(buffered, encoding, errors=escapes, newline="")
