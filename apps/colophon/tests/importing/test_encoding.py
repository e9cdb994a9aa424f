import codecs

import pytest
from colophon.importing.encoding import WrongEncoding, encoding_of

HEADER = "title,author,publication_date\r\n"
CYRILLIC = "название,автор\r\n"


class TestTheEncoding:
    @pytest.mark.parametrize(
        ("head", "encoding"),
        [
            pytest.param(HEADER.encode(), "utf-8", id="ascii"),
            pytest.param(HEADER.encode("utf-8-sig"), "utf-8", id="utf-8"),
            pytest.param(codecs.BOM_UTF16_LE + HEADER.encode("utf-16-le"), "utf-16", id="utf-16-little-endian"),
            pytest.param(codecs.BOM_UTF16_BE + HEADER.encode("utf-16-be"), "utf-16", id="utf-16-big-endian"),
            pytest.param(codecs.BOM_UTF32_LE + HEADER.encode("utf-32-le"), "utf-32", id="utf-32-little-endian"),
            pytest.param(codecs.BOM_UTF32_BE + HEADER.encode("utf-32-be"), "utf-32", id="utf-32-big-endian"),
            pytest.param(b"", "utf-8", id="nothing"),
        ],
    )
    def test_is_what_the_mark_says(self, head: bytes, encoding: str) -> None:
        assert encoding_of(head, None) == encoding
        assert head.decode(encoding).removeprefix("\ufeff") == (HEADER if head else "")

    @pytest.mark.parametrize("header", [HEADER, CYRILLIC])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_without_a_mark_is_what_was_asked_for(self, header: str, encoding: str) -> None:
        assert encoding_of(header.encode(encoding), encoding) == encoding

    def test_asked_for_and_marked_is_as_marked(self) -> None:
        assert encoding_of(codecs.BOM_UTF16_BE + HEADER.encode("utf-16-be"), "utf-16-le") == "utf-16"
        assert encoding_of(HEADER.encode("utf-8-sig"), "utf8") == "utf-8"

    @pytest.mark.parametrize("asked", [None, "cp1252", "utf-16", "utf-32"])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_that_is_not_what_it_seems_is_told_so_that_it_works(self, encoding: str, asked: str | None) -> None:
        head = HEADER.encode(encoding)
        with pytest.raises(WrongEncoding) as refused:
            encoding_of(head, asked)
        advice = str(refused.value).rpartition(" ")[2]
        assert (advice, encoding_of(head, advice)) == (encoding, encoding)

    @pytest.mark.parametrize(
        ("head", "asked"),
        [
            pytest.param(HEADER.encode(), "utf-16", id="ascii-as-utf-16"),
            pytest.param(HEADER.encode(), "utf-16-le", id="ascii-as-utf-16-little-endian"),
            pytest.param(HEADER.encode("utf-8-sig"), "cp1252", id="marked-utf-8-as-another"),
            pytest.param(HEADER.encode("utf-16"), "cp1252", id="marked-utf-16-as-another"),
            pytest.param(HEADER.encode("utf-32"), "utf-16", id="marked-utf-32-as-utf-16"),
        ],
    )
    def test_that_is_wrong_is_to_be_left_out(self, head: bytes, asked: str) -> None:
        with pytest.raises(WrongEncoding, match="leave --encoding out"):
            encoding_of(head, asked)
        assert encoding_of(head, None)
