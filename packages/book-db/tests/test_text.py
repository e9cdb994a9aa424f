"""The rules for text in the catalogue."""

import re
import time
import unicodedata
from collections.abc import Callable

import pytest
from book_db.book import AUTHOR_MAX, TITLE_MAX
from book_db.text import _AT_THE_ENDS, clean, clean_beginning
from hypothesis import assume, given
from hypothesis import strategies as st


def cleaned(text: str, at_most: int = 20) -> str:
    return clean(text, at_most=at_most)


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


class TestWhatIsTaken:
    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            pytest.param("Emma", "Emma", id="as-it-is"),
            pytest.param("  Emma\t\r\n", "Emma", id="trimmed"),
            pytest.param("\u3000Emma\u00a0\u2028", "Emma", id="trimmed-of-every-unicode-blank"),
            pytest.param("\ufeffEmma \ufeff", "Emma", id="trimmed-of-marks-of-byte-order"),
            pytest.param("War  and\u00a0Peace", "War  and\u00a0Peace", id="blanks-inside-stay"),
            pytest.param("e\u0301tude", "étude", id="composed"),
            pytest.param("\u212b", "\u00c5", id="angstrom-becomes-a-ring"),
            pytest.param("\u0915\u093c", "\u0915\u093c", id="excluded-from-composition"),
            pytest.param("\u0958", "\u0915\u093c", id="nfc-can-be-longer"),
            pytest.param("Ἀθῆναι", "Ἀθῆναι", id="greek"),
            pytest.param("Война и мир", "Война и мир", id="cyrillic"),
            pytest.param("שלום", "שלום", id="hebrew"),
            pytest.param("\u05e9\u05c1", "\u05e9\u05c1", id="hebrew-with-points-stays-decomposed"),
            pytest.param("\u200fשלום\u200f", "\u200fשלום\u200f", id="direction-marks-stay"),
            pytest.param("نامه\u200cای", "نامه\u200cای", id="zero-width-non-joiner-means-something"),
            pytest.param("👩\u200d🚀", "👩\u200d🚀", id="zero-width-joiner-means-something"),
            pytest.param("0", "0", id="one-character"),
            pytest.param("?!", "?!", id="punctuation-alone"),
            pytest.param("\u0301", "\u0301", id="a-mark-alone-is-visible"),
            pytest.param("\ue000", "\ue000", id="private-use-may-be-visible"),
            pytest.param("\U0001fbff", "\U0001fbff", id="unassigned-as-yet"),
        ],
    )
    def test_comes_trimmed_and_in_nfc(self, given: str, taken: str) -> None:
        assert cleaned(given) == taken

    def test_is_trimmed_of_all_that_python_takes_for_a_blank(self) -> None:
        assert {*_AT_THE_ENDS} == {each for each in map(chr, range(0x110000)) if each.isspace()} | {"\ufeff"}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="empty"),
            pytest.param(" \t\r\n", id="blanks"),
            pytest.param("\u00a0\u2003\u3000", id="unicode-blanks"),
            pytest.param("\u200b", id="zero-width-space"),
            pytest.param("\u200b\u200d\ufeff\u2060\u00ad", id="zero-width-characters"),
            pytest.param("\u200e \u200f", id="direction-marks-alone"),
            pytest.param("\u2800", id="braille-blank"),
            pytest.param("\u3164", id="hangul-filler"),
            pytest.param("\ufe0f", id="variation-selector-alone"),
            pytest.param("\U000e0041", id="tag-character-alone"),
        ],
    )
    def test_blank_is_whatever_shows_nothing(self, text: str) -> None:
        with pytest.raises(ValueError, match="must not be blank"):
            cleaned(text)

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            pytest.param("Em\x00ma", "U+0000", id="nul-which-postgresql-cannot-hold"),
            pytest.param("Em\nma", "U+000A", id="newline-inside"),
            pytest.param("Em\tma", "U+0009", id="tab-inside"),
            pytest.param("\x1b[31mEmma", "U+001B", id="escape-which-colours-a-console"),
            pytest.param("Em\x7fma", "U+007F", id="delete"),
            pytest.param("Em\x85ma", "U+0085", id="next-line-of-c1"),
            pytest.param("Em\x9bma", "U+009B", id="control-sequence-introducer-of-c1"),
            pytest.param("Em\u2028ma", "U+2028", id="line-separator"),
            pytest.param("Em\u2029ma", "U+2029", id="paragraph-separator"),
            pytest.param("Em\ud800ma", "U+D800", id="high-surrogate-alone"),
            pytest.param("Em\udfffma", "U+DFFF", id="low-surrogate-alone"),
            pytest.param("\x00", "U+0000", id="nul-alone"),
        ],
    )
    def test_a_control_character_is_named(self, text: str, named: str) -> None:
        with pytest.raises(ValueError, match=re.escape(f"must not contain the character {named}")):
            cleaned(text)

    @pytest.mark.parametrize(
        ("text", "fits"),
        [
            pytest.param("x" * 20, True, id="just-so-long"),
            pytest.param("x" * 21, False, id="one-too-long"),
            pytest.param("  " + "x" * 20 + "  ", True, id="blanks-around-do-not-count"),
            pytest.param("e\u0301" * 20, True, id="forty-that-compose-to-twenty"),
            pytest.param("\u03b1\u0313\u0300\u0345" * 20, True, id="eighty-that-compose-to-twenty"),
            pytest.param("\u0958" * 10, True, id="ten-that-grow-to-twenty"),
            pytest.param("\u0958" * 11, False, id="eleven-that-grow-to-twenty-two"),
            pytest.param("📚" * 20, True, id="characters-not-bytes"),
            pytest.param("x" * 81, False, id="too-long-before-it-is-composed"),
        ],
    )
    def test_the_length_counts_after_trimming_and_nfc(self, text: str, fits: bool) -> None:
        if fits:
            assert len(cleaned(text)) == 20
        else:
            with pytest.raises(ValueError, match="must have at most 20 characters"):
                cleaned(text)

    def test_more_marks_in_a_row_than_any_writing_has(self) -> None:
        assert cleaned("x" + "\u0316" * 19)
        clean("x" + "\u0316" * 30, at_most=100)
        with pytest.raises(ValueError, match="more than 30 combining marks in a row"):
            clean("x" + "\u0316" * 31, at_most=100)

    @pytest.mark.parametrize("at_most", [TITLE_MAX, AUTHOR_MAX])
    def test_a_text_made_to_take_long_is_refused_at_once(self, at_most: int) -> None:
        """The marks have to be sorted, in a time that grows with their square: minutes for a megabyte."""

        def refuse() -> None:
            for length in (at_most, 500_000):
                with pytest.raises(ValueError, match="must"):
                    clean("a" + "\u0315\u0300" * length, at_most=at_most)

        sorting_few = seconds_of(lambda: unicodedata.normalize("NFC", "a" + "\u0315\u0300" * 8_000))
        assert min(seconds_of(refuse) for _ in range(3)) < sorting_few


class TestAnyText:
    @given(st.text(st.characters(), max_size=40))
    def test_is_refused_or_comes_out_by_the_rules(self, text: str) -> None:
        try:
            taken = cleaned(text)
        except ValueError as error:
            assert str(error).startswith("must")  # noqa: PT017 - either outcome is right
            return
        assert 1 <= len(taken) <= 20
        assert taken == taken.strip()
        assert unicodedata.is_normalized("NFC", taken)
        assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in taken)
        taken.encode()

    @given(st.text(max_size=40))
    def test_that_was_cleaned_is_clean(self, text: str) -> None:
        try:
            taken = cleaned(text)
        except ValueError:
            assume(False)  # only what is taken is of interest
        assert cleaned(taken) == taken

    def test_composes_four_to_one_at_the_most(self) -> None:
        """The early look at the length depends on it."""
        everything = map(chr, range(0x110000))
        assert max(len(unicodedata.normalize("NFD", character)) for character in everything) == 4


class TestABeginning:
    @pytest.mark.parametrize(
        ("value", "cleaned"),
        [
            pytest.param("  George", "George", id="blanks-before-it-go"),
            pytest.param("George ", "George ", id="blanks-after-it-stay"),
            pytest.param("e\u0301", "\u00e9", id="composed"),
            pytest.param("\u200b", "\u200b", id="what-shows-nothing-may-go-on"),
            pytest.param(" ", "", id="nothing-is-left"),
        ],
    )
    def test_is_cleaned_as_the_text_that_it_begins(self, value: str, cleaned: str) -> None:
        assert clean_beginning(value, at_most=10) == cleaned

    @pytest.mark.parametrize("value", ["a\0", "a\n", "x" * 11, "\ud800", "a" + "\u0301" * 31])
    def test_is_refused_where_no_text_begins_so(self, value: str) -> None:
        with pytest.raises(ValueError, match="must"):
            clean_beginning(value, at_most=10)
