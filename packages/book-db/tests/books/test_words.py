"""The words of a text: the same for all who mean the same word, whatever their case, accents and script."""

import unicodedata

import pytest
from book_db.books.words import words_asked_for, words_of
from hypothesis import given
from hypothesis import strategies as st

SCRIPTS = "aZß éŁ ΆςΣ Йё אָ שׁ عَ شمس हिन्दी தமிழ் ไทย 紅楼夢 かガ゙ 한국 ﬁ Ⅷ ² 𝔉 İıſ \u0301\u200b\u200f\u00ad!-_*'\\,"
texts = st.text(st.sampled_from(SCRIPTS) | st.characters(exclude_categories=["Cs"]), max_size=30)


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            pytest.param("", [], id="none"),
            pytest.param("!!! … — ¿?", [], id="punctuation-alone"),
            pytest.param("📚", [], id="a-picture"),
            pytest.param("The Mill on the Floss", ["floss", "mill", "on", "the"], id="each-once"),
            pytest.param(
                "Nineteen Eighty-Four: 1984", ["1984", "eighty", "four", "nineteen"], id="numbers-and-hyphens"
            ),
            pytest.param("Ulysses\u00a0(1922)", ["1922", "ulysses"], id="a-blank-that-does-not-break"),
            pytest.param("Émile Žižek Ångström", ["angstrom", "emile", "zizek"], id="accents"),
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
            pytest.param("한국", ["한국"], id="korean"),
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
        assert set(words_asked_for(text)) <= set(words_of(text))

    @given(texts, texts, texts)
    def test_of_a_part_are_found_in_the_whole(self, before: str, text: str, after: str) -> None:
        assert set(words_asked_for(text)) <= set(words_of(f"{before} {text} {after}"))

    @given(texts)
    def test_are_the_same_in_every_normal_form(self, text: str) -> None:
        assert words_of(unicodedata.normalize("NFC", text)) == words_of(unicodedata.normalize("NFD", text))

    @given(st.text(st.sampled_from("aéßΣσςЁёİıжКé"), max_size=20))
    def test_are_the_same_in_every_case(self, text: str) -> None:
        # But for the Turkish i without a dot, which is a letter of its own until it is a capital.
        text = text.replace("ı", "").replace("İ", "")
        assert words_of(text.upper()) == words_of(text.lower()) == words_of(text)


class TestAPartOfATextWithoutBlanks:
    @given(st.text(st.sampled_from("紅楼夢源氏物語かなไทย"), min_size=2, max_size=20), st.data())
    def test_is_found(self, text: str, data: st.DataObject) -> None:
        begin = data.draw(st.integers(0, len(text) - 1))
        part = text[begin : data.draw(st.integers(begin + 1, len(text)))]
        assert set(words_asked_for(part)) <= set(words_of(text))

    def test_is_asked_for_by_its_pairs(self) -> None:
        assert words_asked_for("紅楼夢") == ["楼夢", "紅楼"]
        assert words_asked_for("夢") == ["夢"]


class TestAVeryLongWord:
    @pytest.mark.parametrize("character", ["x", "é", "한", "𐐨"])
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
