import csv
import gzip
import io
import os
import re
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from book_runtime.delimited.lines import undecodable
from colophon.importing import rows
from colophon.importing.rows import Row, UnreadableFile, open_table
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.csv"


def rows_of(file: Path, *, delimiter: str | None = None, encoding: str | None = None) -> list[Row]:
    with open_table(file, delimiter=delimiter, encoding=encoding) as table:
        return list(table)


def lines_of(file: Path) -> list[tuple[int, int]]:
    return [(row.line, row.last_line) for row in rows_of(file)]


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

    def test_what_excel_calls_unicode_text(self, file: Path) -> None:
        """UTF-16 with its mark, tabs between the fields."""
        file.write_bytes('t\ta\r\nÉmile, or so\t"Rousseau\nand others"\r\n'.encode("utf-16"))
        assert rows_of(file) == [Row(2, 3, ["Émile, or so", "Rousseau\nand others"])]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_found_out(self, file: Path, delimiter: str) -> None:
        file.write_text(f"t{delimiter}a\nEmma{delimiter}Austen\n")
        assert rows_of(file)[0].fields == ["Emma", "Austen"]

    def test_other_delimiters(self, file: Path) -> None:
        file.write_text("t^a\nEmma, a novel^Austen\n")
        assert rows_of(file, delimiter="^")[0].fields == ["Emma, a novel", "Austen"]

    def test_a_first_line_that_names_the_delimiter_is_no_header(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbfsep=;\r\nt;a\r\nEmma, a novel;Austen\r\n")
        with open_table(file) as table:
            assert table.header == ["t", "a"]
            assert list(table) == [Row(3, 3, ["Emma, a novel", "Austen"])]

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
            st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), min_size=1, max_size=8
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
            pytest.param('t,a\nx,y\n"x"y,z\nx,y\n', 3, "not valid CSV: text follows the quote", id="text-after-quote"),
            pytest.param('t,a\nx,y\n"x,y\nx,y\n', 3, "a quote is opened that nothing closes", id="quote-left-open"),
        ],
    )
    def test_a_malformed_row_is_named_and_the_others_are_read(
        self, file: Path, content: str, line: int, malformed: str
    ) -> None:
        file.write_text(content)
        first, bad, last = rows_of(file)
        assert (bad.line, bad.last_line) == (line, line)
        assert malformed in bad.malformed
        assert first.fields == last.fields == ["x", "y"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param(b"", "the file is empty", id="empty"),
            pytest.param(b"\n\n", "the file is empty", id="empty-lines-only"),
            pytest.param(b"sep=;\n", "the file is empty", id="delimiter-only"),
            pytest.param(b"\xef\xbb\xbf", "the file is empty", id="byte-order-mark-only"),
            pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file", id="picture"),
            pytest.param(b"PK\x03\x04\x14\0\x06\0", "not a text file; a spreadsheet", id="spreadsheet"),
            pytest.param(b'"t\nx\n', "line 1, the header, is not valid CSV", id="quote-left-open-in-the-header"),
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
        lines = "".join(f"{number}\n" for number in range(100_000)).encode()
        file.write_bytes(gzip.compress(b"t\n" + lines)[:-20])
        read: list[Row] = []
        with pytest.raises(UnreadableFile) as raised, open_table(file) as table:
            read.extend(table)
        # A last line may have broken off in its middle, and is none.
        assert raised.value.line == read[-1].line + 1 if read else 2
        assert len(read) > 50_000

    def test_a_nul_is_a_character_behind_the_header(self, file: Path) -> None:
        file.write_bytes(b"t,a\nx\0,y\n")
        assert rows_of(file)[0].fields == ["x\0", "y"]

    def test_a_quote_that_nothing_closes_does_not_take_the_memory(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "MAX_ROW_BYTES", 100_000)
        file.write_text('t\nx\n"' + "long line\n" * 20_000)
        first, quote, *others = rows_of(file)
        assert (first.line, quote.line, quote.last_line) == (2, 3, 3)
        assert "nothing closes within 100,000 bytes" in quote.malformed
        assert [row.fields for row in others] == [["long line"]] * 19_999

    def test_a_missing_file_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFile, match="No such file"):
            rows_of(tmp_path / "none.csv")


class TestBytesThatAreNotInTheEncoding:
    @pytest.mark.parametrize(
        ("content", "encoding", "doubt"),
        [
            pytest.param(
                b"t\nx\n\xc9mile\n",
                None,
                r"line 3 is not UTF-8 \(byte 0xC9\); name the file's encoding with --encoding, cp1252 for instance",
                id="latin-1",
            ),
            pytest.param(b"t\nx\n\xe2\x82", None, r"line 3 is not UTF-8 \(byte 0xE2\)", id="a-character-cut-off"),
            pytest.param(b"t\nx\n\x81", None, "--encoding; whoever made it knows$", id="nor-cp1252"),
            pytest.param(b"t\nx\n\x81", "cp1252", r"not CP1252 \(byte 0x81\).*whoever made it knows$", id="no-cp1252"),
        ],
    )
    def test_cast_doubt_on_it_where_nothing_else_has_confirmed_it(
        self, file: Path, content: bytes, encoding: str | None, doubt: str
    ) -> None:
        file.write_bytes(content)
        certain, row = rows_of(file, encoding=encoding)
        assert not certain.encoding_in_doubt
        assert re.search(doubt, row.encoding_in_doubt)

    def test_in_the_header_count_where_a_column_is_missing(self, file: Path) -> None:
        file.write_bytes("t,prénom\nx,y\n".encode("cp1252"))
        with open_table(file, columns=("t",)) as table:
            assert table.header == ["t", "pr\udce9nom"]
        doubt = "line 1 is not UTF-8 .*--encoding, cp1252"
        with pytest.raises(UnreadableFile, match=doubt), open_table(file, columns=("t", "prénom")):
            pass
        with open_table(file, columns=("t", "prénom"), encoding="cp1252") as table:
            assert table.header == ["t", "prénom"]

    @pytest.mark.parametrize(
        ("content", "encoding"),
        [
            pytest.param("t\nÉmile\n".encode() + b"\xc9mile\n", None, id="utf-8"),
            pytest.param("t\nx\n".encode("utf-16") + b"\0", None, id="utf-16"),
            pytest.param("t\nÉmile\n".encode("cp1252") + b"\x81\n", "cp1252", id="cp1252"),
        ],
    )
    def test_cast_none_where_others_have_confirmed_it(self, file: Path, content: bytes, encoding: str | None) -> None:
        file.write_bytes(content)
        row = rows_of(file, encoding=encoding)[-1]
        assert (row.line, row.encoding_in_doubt) == (3, "")
        assert undecodable(row.fields[0])
