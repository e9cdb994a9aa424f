"""Page tokens: what was given comes back, everything else is refused."""

import pytest
from book_db.books import pages
from book_db.errors import InvalidPageToken
from hypothesis import given
from hypothesis import strategies as st

ids = st.integers(min_value=-(2**63), max_value=2**63 - 1)


class TestAToken:
    @given(ids)
    def test_brings_back_the_id_it_was_made_of(self, after: int) -> None:
        assert pages.decode(pages.encode(after)) == after

    @pytest.mark.parametrize(
        "after",
        [
            pytest.param(0, id="before-the-first"),
            pytest.param(1, id="the-first"),
            pytest.param(2**53 + 1, id="beyond-what-a-double-holds"),
            pytest.param(2**63 - 1, id="the-last-int64"),
            pytest.param(-(2**63), id="the-lowest-int64"),
        ],
    )
    def test_holds_any_int64(self, after: int) -> None:
        assert pages.decode(pages.encode(after)) == after

    @given(ids)
    def test_stands_in_a_url_as_it_is(self, after: int) -> None:
        token = pages.encode(after)
        assert len(token) == 23
        assert token.isascii()
        assert token.replace("-", "").replace("_", "").isalnum()

    @given(ids, ids)
    def test_is_another_for_another_id(self, one: int, other: int) -> None:
        assert (pages.encode(one) == pages.encode(other)) == (one == other)


class TestATokenThatWasTamperedWith:
    @given(ids, st.integers(0, 23 * 7 - 1))
    def test_in_one_bit_is_refused(self, after: int, position: int) -> None:
        token = bytearray(pages.encode(after).encode())
        token[position // 7] ^= 1 << position % 7
        with pytest.raises(InvalidPageToken):
            pages.decode(token.decode("latin-1"))

    @given(ids, st.integers(0, 22))
    def test_that_was_cut_is_refused(self, after: int, length: int) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(pages.encode(after)[:length])

    @given(ids, st.text(min_size=1))
    def test_that_was_extended_is_refused(self, after: int, more: str) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(pages.encode(after) + more)
        with pytest.raises(InvalidPageToken):
            pages.decode(more + pages.encode(after))

    @given(st.text())
    def test_that_is_any_text_is_refused(self, token: str) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(token)

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("", id="empty"),
            pytest.param("=", id="padding-alone"),
            pytest.param("A" * 23, id="zeros-of-the-right-length"),
            pytest.param("A" * 100_000, id="very-long"),
            pytest.param("é" * 23, id="not-ascii"),
            pytest.param("\ud800", id="lone-surrogate"),
            pytest.param("50", id="an-offset"),
            pytest.param(pages.encode(7) + "=", id="with-its-padding"),
            pytest.param(" " + pages.encode(7), id="blank-before"),
            pytest.param(pages.encode(7) + "\n", id="newline-after"),
        ],
    )
    def test_in_well_known_ways_is_refused(self, token: str) -> None:
        with pytest.raises(InvalidPageToken, match="not one that this catalogue gave"):
            pages.decode(token)
