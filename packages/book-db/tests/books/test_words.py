"""The words of a text: the same for all who mean the same word, whatever their case, accents and script."""

import unicodedata

import msgspec
import pytest
from book_db.books.words import ways_of, words_asked_for, words_of
from hypothesis import given
from hypothesis import strategies as st

SCRIPTS = "aZß éŁ ΆςΣ Йё אָ שׁ عَ شمس हिन्दी தமிழ் ไทย 紅楼夢 かガ゙ 한국 ﬁ Ⅷ ² 𝔉 İıſ \u0301\u200b\u200f\u00ad!-_*'\\,"
texts = st.text(st.sampled_from(SCRIPTS + "'’-.,0ø") | st.characters(exclude_categories=["Cs"]), max_size=30)


def answers(text: str, question: str) -> bool:
    """Whether a book with this text is found by this question."""
    words = set(words_of(text))
    return all(any(words.issuperset(way) for way in ways_of(word)) for word in words_asked_for(question))


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            pytest.param("", [], id="none"),
            pytest.param("!!! … — ¿?", [], id="punctuation-alone"),
            pytest.param("📚", [], id="a-picture"),
            pytest.param("The Mill on the Floss", ["floss", "mill", "on", "the"], id="each-once"),
            pytest.param(
                "Nineteen Eighty-Four: 1984", ["1984", "eighty", "eightyfour", "four", "nineteen"], id="hyphens"
            ),
            pytest.param("Ulysses\u00a0(1922)", ["1922", "ulysses"], id="a-blank-that-does-not-break"),
            pytest.param("Émile Žižek", ["emile", "zizek"], id="accents"),
            pytest.param("Ångström", ["aangstroem", "angstrom"], id="accents-that-are-written-out-too"),
            pytest.param("Ł Ø", ["l", "lo", "o", "oe"], id="letters-that-do-not-decompose"),
            pytest.param("Qurʼān Gogolʹ", ["an", "gogol", "qur", "quran"], id="apostrophes-that-are-letters"),
            pytest.param("al-Qur'an", ["al", "alquran", "an", "qur", "quran"], id="apostrophes-and-hyphens"),
            pytest.param("'Tis 'so' -- rock 'n' roll", ["n", "rock", "roll", "so", "tis"], id="quotation-marks"),
            pytest.param("J. R. R. Tolkien", ["j", "jrr", "r", "tolkien"], id="initials"),
            pytest.param("20,000 ٣٣", ["000", "20", "20000", "33"], id="numbers"),
            pytest.param("E\u0301mile", ["emile"], id="accents-apart"),
            pytest.param("STRASSE Straße", ["strasse"], id="sharp-s"),
            pytest.param("İstanbul", ["istanbul"], id="turkish-capital-i"),
            pytest.param("ﬁn Ⅷ x²", ["fin", "viii", "x2"], id="ligatures-and-numerals"),
            pytest.param("𝔉𝔞𝔲𝔰𝔱", ["faust"], id="mathematical-letters"),
            pytest.param("Ὀδύσσεια ΟΔΥΣΣΕΙΑ", ["οδυσσεια"], id="greek"),
            pytest.param("Ёлка ёлка", ["елка"], id="russian"),
            pytest.param("שָׁלוֹם", ["שלום"], id="hebrew-points"),
            pytest.param("شَمْسٌ", ["شمس"], id="arabic-vowels"),
            pytest.param("हिन्दी", ["हिन्दी"], id="devanagari-keeps-its-vowels"),
            pytest.param("தமிழ்", ["தமிழ்"], id="tamil-keeps-its-vowels"),
            pytest.param("한국 책", ["국", "국책", "책", "한", "한국"], id="korean-by-syllables-and-pairs"),
            pytest.param("春樹・村", ["春", "春樹", "村", "樹", "樹村"], id="pairs-over-what-stands-between"),
            pytest.param("so\u00adft\u200b hy\u2060phen", ["hyphen", "soft"], id="what-is-not-seen"),
            pytest.param("\u200f\u202aEmma\u202c", ["emma"], id="directions-of-writing"),
            pytest.param("紅楼夢", ["夢", "楼", "楼夢", "紅", "紅楼"], id="chinese-by-characters-and-pairs"),
            pytest.param("Qｑ１", ["qq1"], id="full-width"),
            pytest.param("Tokyo物語2", ["2", "tokyo", "物", "物語", "語"], id="scripts-side-by-side"),
        ],
    )
    def test_are_folded(self, text: str, words: list[str]) -> None:
        assert words_of(text) == words

    @given(texts)
    def test_hold_no_blank_and_come_once_in_order(self, text: str) -> None:
        words = words_of(text)
        assert words == sorted(set(words))
        assert all(word and not any(character.isspace() for character in word) for word in words)

    @given(texts)
    def test_of_a_text_are_found_by_asking_for_it(self, text: str) -> None:
        assert answers(text, text)

    @given(texts, texts, texts)
    def test_of_a_part_are_found_in_the_whole(self, before: str, text: str, after: str) -> None:
        assert answers(f"{before} {text} {after}", text)

    @given(texts)
    def test_are_the_same_in_every_normal_form(self, text: str) -> None:
        assert words_of(unicodedata.normalize("NFC", text)) == words_of(unicodedata.normalize("NFD", text))

    @given(st.text(st.sampled_from("aéßΣσςЁёİıжКé"), max_size=20))
    def test_are_the_same_in_every_case(self, text: str) -> None:
        assert words_of(text.upper()) == words_of(text.lower()) == words_of(text)


class TestAPartOfATextWithoutBlanks:
    @given(st.text(st.sampled_from("紅楼夢源氏物語かなไทย"), min_size=2, max_size=20), st.data())
    def test_is_found(self, text: str, data: st.DataObject) -> None:
        begin = data.draw(st.integers(0, len(text) - 1))
        part = text[begin : data.draw(st.integers(begin + 1, len(text)))]
        assert answers(text, part)

    def test_is_asked_for_by_its_pairs(self) -> None:
        assert words_asked_for("紅楼夢") == ["楼夢", "紅楼"]
        assert words_asked_for("夢") == ["夢"]


class TestAVeryLongWord:
    @pytest.mark.parametrize("character", ["x", "é", "я", "𐐨"])
    def test_is_cut_where_an_index_still_takes_it(self, character: str) -> None:
        [word] = words_of(character * 2_000)
        assert len(word) == 100
        assert len(word.encode()) < 8_191 / 3

    def test_is_found_by_itself_and_by_its_beginning_of_100_characters(self) -> None:
        [word] = words_of("x" * 2_000)
        assert words_asked_for("x" * 2_000) == words_asked_for("X" * 100) == [word]
        assert words_asked_for("x" * 99) != [word]

    def test_of_a_script_without_blanks_is_many(self) -> None:
        text = "".join(map(chr, range(0x4E00, 0x4E00 + 2_000)))
        assert len(words_of(text)) == 2_000 + 1_999

    def test_of_many_parts_is_cut_in_each_of_its_ways(self) -> None:
        text = "-".join(["x'" + "y" * 200] * 3)
        assert words_of(text) == ["x", "x" + "y" * 99, "y" * 100]
        assert words_asked_for(text) == [
            "|".join(["x" + "y" * 99, " ".join(["x" + "y" * 99] * 3), ("x " + "y" * 100 + " ") * 2 + "x " + "y" * 100])
        ]


class TestAQuestion:
    @pytest.mark.parametrize(
        ("question", "words"),
        [
            pytest.param("Emma emma", ["emma"], id="each-once"),
            pytest.param("O'Neill", ["oneill|o neill"], id="with-an-apostrophe"),
            pytest.param("al-Qur'an", ["alquran|al quran|al qur an"], id="with-an-apostrophe-and-a-hyphen"),
            pytest.param("J. R. R. Tolkien", ["jrr|j r r", "tolkien"], id="with-initials"),
            pytest.param("Ö", ["o|oe"], id="with-a-letter-that-is-written-out"),
            pytest.param(
                "Müller-Lüdenscheidt",
                ["mullerludenscheidt|muller ludenscheidt|muellerluedenscheidt|mueller luedenscheidt"],
                id="with-two-of-them-and-a-hyphen",
            ),
            pytest.param("紅楼 夢", ["夢", "紅楼"], id="by-pairs-where-it-has-them"),
            pytest.param("' - ·", [], id="of-marks-alone"),
        ],
    )
    def test_asks_for_each_word_in_all_ways_to_write_it(self, question: str, words: list[str]) -> None:
        assert words_asked_for(question) == words

    def test_of_very_many_compounds_asks_for_the_first_ten_in_all_ways(self) -> None:
        question = " ".join(f"a{number:02}'b" for number in range(12))
        assert words_asked_for(question) == [
            *(f"a{number:02}b|a{number:02} b" for number in range(10)),
            "a10",
            "a11",
            "b",
        ]


class TestAStatement:
    """2 MiB hold a batch of an import, of 2**17 bytes, with all its words: `rest_api.books.streams.upload_import`."""

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("".join(map(chr, range(0x4E00, 0x4E00 + 2_000))), id="chinese"),
            pytest.param("".join(map(chr, range(0xAC00, 0xAC00 + 2_000))), id="korean"),
            pytest.param("".join(map(chr, range(0x20000, 0x20000 + 2_000))), id="characters-of-four-bytes"),
            pytest.param(" ".join(map(chr, range(0x4E00, 0x4E00 + 1_000))), id="with-blanks"),
            pytest.param("-".join(map(chr, range(0x400, 0x400 + 1_000))), id="letters-and-hyphens"),
            pytest.param(" ".join(f"{number:x}'{number:x}" for number in range(220)), id="apostrophes"),
            pytest.param(" ".join(f"ö-ä'{number:x}" for number in range(250)), id="all-that-makes-more-words"),
            pytest.param("".join(f"\ufdfa{number}" for number in range(500)), id="a-letter-of-eighteen"),
        ],
    )
    def test_holds_a_text_with_its_words(self, text: str) -> None:
        words = len(msgspec.json.encode(words_of(text)))
        print(f"{words / len(text.encode()):.1f} times the bytes of the text")
        assert words <= 10 * len(text.encode())
