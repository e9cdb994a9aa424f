import csv
import gzip
import io
import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from colophon.importing.rows import LONGEST_FIELD, Row, UnreadableFile, open_table
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.csv"


def rows_of(file: Path, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> list[Row]:
    with open_table(file, delimiter=delimiter, encoding=encoding) as table:
        return list(table)


def lines_of(file: Path) -> list[tuple[int, int]]:
    return [(row.line, row.last_line) for row in rows_of(file)]


# A NUL at the beginning means a binary file to the reader; lone surrogates cannot be written at all.
WITHOUT_NUL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


class TestReading:
    def test_header_and_rows_are_told_apart(self, file: Path) -> None:
        file.write_text("title, author \nEmma,Austen\n")
        with open_table(file) as table:
            assert table.header == ["title", "author"]
            assert [row.fields for row in table] == [["Emma", "Austen"]]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            pytest.param("t\na\nb\n", [(2, 2), (3, 3)], id="one-row-a-line"),
            pytest.param('t\n"a\nb\n\nc"\nd\n', [(2, 5), (6, 6)], id="quoted-newlines-count"),
            pytest.param("t\r\na\r\nb", [(2, 2), (3, 3)], id="windows-and-no-newline-at-the-end"),
            pytest.param('t\r\n"a\r\nb"\r\nc\r\n', [(2, 3), (4, 4)], id="quoted-windows-newlines"),
            pytest.param("t\ra\rb\r", [(2, 2), (3, 3)], id="old-mac"),
            pytest.param("t\n\na\n\n\nb\n\n", [(3, 3), (6, 6)], id="empty-lines-are-no-rows-but-count"),
            pytest.param("\n\nt\na\n", [(4, 4)], id="empty-lines-before-the-header"),
            pytest.param("t\na\u2028b\x0bc\x85d\n", [(2, 2)], id="unicode-line-separators-divide-no-csv-lines"),
        ],
    )
    def test_lines_are_those_an_editor_shows(self, file: Path, content: str, expected: list[tuple[int, int]]) -> None:
        file.write_bytes(content.encode())
        assert lines_of(file) == expected

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbftitle\nEmma\n")
        with open_table(file) as table:
            assert table.header == ["title"]

    @pytest.mark.parametrize("name", ["books.csv.gz", "books.csv"])
    def test_gzip_is_known_by_its_bytes_and_not_by_its_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress("t\nЖизнь\n".encode()))
        assert [row.fields for row in rows_of(tmp_path / name)] == [["Жизнь"]]

    @pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "latin-1"])
    def test_other_encodings(self, file: Path, encoding: str) -> None:
        file.write_bytes("t\nÉmile\n".encode(encoding))
        assert [row.fields for row in rows_of(file, encoding=encoding)] == [["Émile"]]

    def test_other_delimiters(self, file: Path) -> None:
        file.write_text("t\ta\nEmma, a novel\tAusten\n")
        assert rows_of(file, delimiter="\t")[0].fields == ["Emma, a novel", "Austen"]

    def test_fields_may_be_longer_than_the_csv_modules_limit(self, file: Path) -> None:
        file.write_text(f"t\n{'x' * 1_000_000}\n")
        assert len(rows_of(file)[0].fields[0]) == 1_000_000

    def test_a_pipe_can_be_read(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=("t\nEmma\n",))
        writer.start()
        with open_table(pipe) as table:
            assert [row.fields for row in table] == [["Emma"]]
            assert (table.size, table.position) == (0, 0)
        writer.join()

    @given(
        st.lists(
            st.lists(
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_what_a_csv_writer_wrote_is_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
    ) -> None:
        written = io.StringIO(newline="")
        csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
        file = tmp_path_factory.mktemp("csv") / "books.csv"
        file.write_bytes(written.getvalue().encode())
        read = rows_of(file)
        assert [row.fields for row in read] == rows
        assert all(one.last_line + 1 == other.line for one, other in pairwise(read))


class TestWhatIsNoCsv:
    @pytest.mark.parametrize(
        ("content", "line", "malformed"),
        [
            pytest.param('t,a\nx,y\n"x"y,z\nx,y\n', 3, "not valid CSV: ',' expected after '\"'", id="text-after-quote"),
            pytest.param('t,a\nx,y\n"x,y\nx,y\n', 3, "a quote is opened that nothing closes", id="quote-left-open"),
        ],
    )
    def test_a_malformed_row_is_named_and_the_others_are_read(
        self, file: Path, content: str, line: int, malformed: str
    ) -> None:
        file.write_text(content)
        bad = [row for row in rows_of(file) if row.malformed]
        assert [row.line for row in bad] == [line]
        assert malformed in bad[0].malformed
        assert rows_of(file)[0].fields == ["x", "y"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param(b"", "the file is empty", id="empty"),
            pytest.param(b"\n\n", "the file is empty", id="empty-lines-only"),
            pytest.param(b"\xef\xbb\xbf", "the file is empty", id="byte-order-mark-only"),
            pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file", id="picture"),
            pytest.param(b"PK\x03\x04\x14\0\x06\0", "not a text file; a spreadsheet", id="spreadsheet"),
            pytest.param(b'"t\nx\n', "line 1, the header, is not valid CSV", id="quote-left-open-in-the-header"),
            pytest.param(b"t\nx\n\xc9mile\n", r"line 3 is not UTF-8 \(byte 0xC9\); name", id="latin-1"),
            pytest.param(b"t\xff\n", "line 1 is not UTF-8", id="bad-byte-in-the-header"),
            pytest.param(b"t\nx\n\xe2\x82", "line 3 is not UTF-8", id="a-character-cut-off-at-the-end"),
            pytest.param(gzip.compress(os.urandom(10**5).hex().encode())[:-20], "breaks off", id="gzip-cut-off"),
            pytest.param(gzip.compress(b"t\nx\n")[:12], "damaged|breaks off", id="gzip-cut-off-at-once"),
            pytest.param(gzip.compress(b"t\nx\n")[:-8] + b"12345678", "damaged", id="gzip-with-a-wrong-checksum"),
            pytest.param(b"\x1f\x8b" + b"\x08" * 40, "damaged|breaks off", id="gzip-only-by-its-first-bytes"),
        ],
    )
    def test_files_that_cannot_be_read_say_why(self, file: Path, content: bytes, said: str) -> None:
        file.write_bytes(content)
        with pytest.raises(UnreadableFile, match=said):
            rows_of(file)

    def test_the_line_where_reading_ended_is_known(self, file: Path) -> None:
        file.write_bytes(b't\nx\n"a\nb"\n\xff\n')
        with pytest.raises(UnreadableFile) as raised:
            rows_of(file)
        assert raised.value.line == 5

    def test_a_wrong_wide_encoding_is_said_too(self, file: Path) -> None:
        file.write_bytes("t\nx\n".encode("utf-16") + b"\0")
        with pytest.raises(UnreadableFile, match="is not UTF-16"):
            rows_of(file, encoding="utf-16")

    def test_a_quote_that_swallows_the_file_does_not_swallow_the_memory(self, file: Path) -> None:
        line = "long line" * 1_000 + "\n"
        file.write_text('t\nx\n"' + line * (LONGEST_FIELD // len(line) + 1))
        with pytest.raises(UnreadableFile, match=r"starts in line 3 has a field of more than 16,777,216 characters"):
            rows_of(file)

    def test_a_missing_file_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFile, match="No such file"):
            rows_of(tmp_path / "none.csv")
