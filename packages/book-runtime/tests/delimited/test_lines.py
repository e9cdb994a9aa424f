import re

import pytest
from book_runtime.delimited.lines import LF, Line, Lines, undecodable
from hypothesis import given
from hypothesis import strategies as st


def lines_of(
    text: bytes, encoding: str = "utf-8", *, longest: int = 100, at_once: int = 7, ends: re.Pattern[str] | None = None
) -> list[Line]:
    lines = Lines(encoding, longest, ends) if ends else Lines(encoding, longest)
    cut = [line for at in range(0, len(text), at_once) for line in lines.feed(text[at : at + at_once])]
    return [*cut, *lines.last()]


def texts_of(text: bytes, encoding: str = "utf-8", *, at_once: int = 7) -> list[str]:
    return [line.text for line in lines_of(text, encoding, at_once=at_once)]


class TestLines:
    @given(text=st.text(st.sampled_from('a\n\r"é\N{GRINNING FACE}\u2028\x85\x0b')), at_once=st.integers(1, 7))
    def test_are_the_same_whatever_pieces_they_come_in(self, text: str, at_once: int) -> None:
        *whole, rest = re.split("\r\n|\n|\r", text)
        assert texts_of(text.encode(), at_once=at_once) == [*whole, *filter(None, [rest])]

    @given(text=st.text(st.sampled_from("a\n\ré")), at_once=st.integers(1, 7))
    def test_end_with_nothing_but_lf_where_that_is_asked_for(self, text: str, at_once: int) -> None:
        *whole, rest = text.split("\n")
        cut = lines_of(text.encode(), at_once=at_once, ends=LF)
        assert [line.text for line in cut] == [*whole, *filter(None, [rest])]

    @given(text=st.text(), at_once=st.integers(1, 7))
    def test_lose_no_character(self, text: str, at_once: int) -> None:
        cut = lines_of(text.encode(), longest=10_000, at_once=at_once)
        assert "".join(line.text + line.end for line in cut) == text.removeprefix("\ufeff")
        assert [line.number for line in cut] == list(range(1, len(cut) + 1))

    @pytest.mark.parametrize("at_once", [1, 2, 1_000])
    @pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
    def test_one_that_is_too_long_is_passed_over_and_counted(self, end: str, at_once: int) -> None:
        text = end.join(["first", "é" * 50, "x" * 101, "é" * 51, "x" * 10_000, "last"])
        first, longest, *too_long, last = lines_of(text.encode(), at_once=at_once)
        assert (first.text, longest.text, last.text, last.number) == ("first", "é" * 50, "last", 6)
        assert [(line.is_too_long, line.text, line.end) for line in too_long] == [(True, "", end)] * 3

    @pytest.mark.parametrize(
        ("encoding", "mark"),
        [
            pytest.param("utf-8", b"\xef\xbb\xbf", id="utf-8"),
            pytest.param("utf-8-sig", b"\xef\xbb\xbf", id="utf-8-with-its-mark"),
            pytest.param("utf-16-le", b"\xff\xfe", id="utf-16-little-endian"),
            pytest.param("utf-16-be", b"\xfe\xff", id="utf-16-big-endian"),
        ],
    )
    def test_a_byte_order_mark_is_no_part_of_the_first(self, encoding: str, mark: bytes) -> None:
        text = mark + "aé\nb\ufeff".encode(encoding.removesuffix("-sig"))
        assert texts_of(text, encoding, at_once=1) == ["aé", "b\ufeff"]


class TestBytesThatCannotBeDecoded:
    @pytest.mark.parametrize(
        ("encoding", "broken", "byte"),
        [
            pytest.param("utf-8", b"\xe9", 0xE9, id="no-utf-8"),
            pytest.param("utf-8", b"\xe2\x82", 0xE2, id="a-character-cut-off"),
            pytest.param("ascii", b"\xe9", 0xE9, id="no-ascii"),
            pytest.param("cp1252", b"\x81", 0x81, id="no-character-of-windows"),
            pytest.param("shift_jis", b"\xff", 0xFF, id="no-japanese"),
        ],
    )
    @pytest.mark.parametrize("at_once", [1, 100])
    def test_are_told_apart_and_the_others_read(self, encoding: str, broken: bytes, byte: int, at_once: int) -> None:
        right, wrong, last = texts_of(b"a\nbc" + broken + b"d\ne", encoding, at_once=at_once)
        assert (right, last) == ("a", "e")
        assert undecodable(wrong) == (byte, 2)
        assert wrong[-1] == "d"

    def test_may_be_below_0x80_where_characters_have_two_bytes(self) -> None:
        half_of_a_pair = b"\x00\xd8"
        text = "a\nb".encode("utf-16-le") + half_of_a_pair + "c\nd".encode("utf-16-le")
        right, wrong, last = texts_of(text, "utf-16-le", at_once=1)
        assert (right, last) == ("a", "d")
        assert undecodable(wrong) == (0x00, 1)
        assert undecodable(right) is None

    def test_at_the_end_are_not_forgotten(self) -> None:
        assert undecodable(texts_of("a\nb".encode("utf-16-le") + b"c", "utf-16-le")[-1]) == (ord("c"), 1)
