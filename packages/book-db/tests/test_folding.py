"""Folding, held against the Unicode that Python has by itself."""

import hashlib
import sys
import unicodedata

import pytest
from book_db import folding
from book_db.folding import APOSTROPHE, HYPHEN, OR, fold

OF_OLD = [chr(point) for point in range(sys.maxunicode + 1) if unicodedata.ucd_3_2_0.category(chr(point))[0] != "C"]
"""What every Python has the same data of."""

DIGEST_OF_VERSION = {2: "c5503e85c05db3ffaec045b5b213d2dc12219312f064f81dc03c58b9b3f51e20"}
"""Of what all those characters are folded to."""


class TestFolding:
    def test_is_of_another_version_when_it_gives_something_else(self) -> None:
        """The words of all books are made anew then. A version that was released keeps its digest."""
        digest = hashlib.sha256("\n".join(map(fold, OF_OLD)).encode()).hexdigest()
        assert DIGEST_OF_VERSION[folding.VERSION] == digest

    def test_gives_ascii_alone_the_same_as_ascii_beside_other_letters(self) -> None:
        ascii_characters = "".join(map(chr, range(128)))
        assert fold(f"{ascii_characters}é") == f"{fold(ascii_characters)}e"
        assert len(fold(ascii_characters)) == len(ascii_characters)

    def test_folds_what_is_folded_to_itself(self) -> None:
        folded = {fold(character) for character in OF_OLD}
        assert [each for each in folded if OR not in each and fold(each) != each] == []

    def test_leaves_no_case_and_no_blank_but_one(self) -> None:
        folded = "".join(map(fold, OF_OLD))
        assert {each for each in set(folded) if each.casefold() != each} == set()
        assert {each for each in set(folded) if each.isspace()} == {" "}

    def test_leaves_letters_digits_and_signs_of_spelling(self) -> None:
        marks = {each for each in set("".join(map(fold, OF_OLD))) if unicodedata.category(each)[0] not in "LMN"}
        assert marks == {" ", APOSTROPHE, HYPHEN, OR}

    def test_has_the_digits_of_all_scripts_in_ascii(self) -> None:
        digits = {each: unicodedata.decimal(each, None) for each in OF_OLD}
        assert [each for each, digit in digits.items() if digit is not None and fold(each) != str(digit)] == []

    def test_has_letters_with_accents_without_them(self) -> None:
        letters = {each: unicodedata.normalize("NFKD", each) for each in OF_OLD if unicodedata.category(each)[0] == "L"}
        plain = {
            each: apart[0].lower()
            for each, apart in letters.items()
            if apart[0].isascii() and apart[0].isalpha() and all(map(unicodedata.combining, apart[1:]))
        }
        assert len(plain) > 1_000
        assert [each for each, letter in plain.items() if fold(each).split(OR)[0] != letter] == []

    @pytest.mark.parametrize(
        ("letters", "plain"),
        [
            pytest.param("łŁøØđĐðÐħĦŧŦ", "llo+eo+eddddhhtt", id="strokes"),
            pytest.param("æÆœŒßẞþÞĳ", "aeaeoeoessssththij", id="two-in-one"),
            pytest.param("ıİſŋŊĸ", "iisnnq", id="of-their-own"),
            pytest.param("ƀɓɗƙɲȥƶ", "bbdknzz", id="hooks-and-bars"),
        ],
    )
    def test_has_latin_letters_that_do_not_decompose_as_cldr_has_them(self, letters: str, plain: str) -> None:
        assert fold(letters) == plain

    @pytest.mark.parametrize("apostrophe", "'’‘‛ʼʻʹʽʾʿˈ′`´＇ꞌ՚׳“”\"″ʺ״·\u200c")
    def test_has_one_apostrophe_for_all(self, apostrophe: str) -> None:
        assert fold(f"a{apostrophe}b") == "a'b"

    @pytest.mark.parametrize("hyphen", "-‐‑‒–֊־﹣－゠")
    def test_has_one_hyphen_for_all(self, hyphen: str) -> None:
        assert fold(f"a{hyphen}b") == "a-b"

    @pytest.mark.parametrize(
        "nothing", ["\u00ad", "\u200b", "\u200d", "\ufe0f", "\U000e0100", "\u0301", "\u0338", "\u0640", "\u093c"]
    )
    def test_passes_over_what_is_not_seen_and_what_stands_at_letters(self, nothing: str) -> None:
        assert fold(f"a{nothing}b") == "ab"

    @pytest.mark.parametrize("digits", ["1,000", "1.000", "1'000", "1’000"])
    def test_takes_what_parts_thousands_for_an_apostrophe(self, digits: str) -> None:
        assert fold(digits) == "1'000"

    @pytest.mark.parametrize("text", ["1,00", "a,000", "1, 000"])
    def test_takes_other_commas_for_blanks(self, text: str) -> None:
        assert APOSTROPHE not in fold(text)
