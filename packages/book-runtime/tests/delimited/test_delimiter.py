import pytest
from book_runtime.delimited.delimiter import likely, named_by

NAMES = ("title", "author", "date")


class TestALineThatNamesIt:
    @pytest.mark.parametrize(
        ("line", "delimiter"),
        [
            pytest.param("sep=;", ";", id="excel"),
            pytest.param("SEP=,", ",", id="in-capitals"),
            pytest.param("sep=\t", "\t", id="tab"),
            pytest.param('"sep=|"', "|", id="in-quotes"),
            pytest.param("sep=^", "^", id="one-that-nobody-would-find-out"),
            pytest.param("sep=;;;", ";", id="filled-up-to-the-number-of-columns"),
            pytest.param("sep=; ", ";", id="with-a-blank-behind-it"),
        ],
    )
    def test_is_known(self, line: str, delimiter: str) -> None:
        assert named_by(line) == delimiter

    @pytest.mark.parametrize("line", ["", "sep=", "sep=;,", "sep= ", 'sep="', "sep=\0", "separator", "title,author"])
    def test_is_not_taken_for_another(self, line: str) -> None:
        assert named_by(line) is None


class TestTheLikelyOne:
    @pytest.mark.parametrize(
        ("header", "delimiter"),
        [
            pytest.param("title,author,date", ",", id="comma"),
            pytest.param("title;author;date", ";", id="semicolon"),
            pytest.param("title\tauthor\tdate", "\t", id="tab"),
            pytest.param("title|author|date", "|", id="pipe"),
            pytest.param("date; title ;author;a,b,c,d,e,f", ";", id="the-names-count-more-than-columns"),
            pytest.param('"title";"author";"date"', ";", id="quoted"),
            pytest.param('"title, or so";author;date', ";", id="in-quotes-is-another"),
            pytest.param("Titel;Autor;Jahr", ";", id="other-names"),
            pytest.param("title", ",", id="one-column"),
            pytest.param("", ",", id="nothing"),
            pytest.param('"title,author,date', ",", id="a-quote-left-open"),
        ],
    )
    def test_is_that_which_suits_the_header(self, header: str, delimiter: str) -> None:
        assert likely(header, NAMES) == delimiter
