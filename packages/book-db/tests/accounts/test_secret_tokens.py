"""Tokens that say nothing of themselves."""

import re

import pytest
from book_db.accounts.secret_tokens import API_TOKEN, LENGTH_MAX, REFRESH_TOKEN, digest, is_whole, new_token
from hypothesis import given
from hypothesis import strategies as st

KINDS = [pytest.param(API_TOKEN, id="api"), pytest.param(REFRESH_TOKEN, id="refresh")]


class TestANewToken:
    @pytest.mark.parametrize("prefix", KINDS)
    def test_is_known_by_its_prefix_and_has_256_bits_of_chance(self, prefix: str) -> None:
        token = new_token(prefix)
        assert re.fullmatch(rf"{prefix}[0-9a-f]{{64}}[0-9a-f]{{8}}", token)
        assert len(token) < LENGTH_MAX
        assert is_whole(token, prefix)

    def test_is_like_no_other(self) -> None:
        assert len({new_token(API_TOKEN) for _ in range(1_000)}) == 1_000

    def test_has_a_digest_that_does_not_hold_it(self) -> None:
        token = new_token(API_TOKEN)
        assert len(digest(token)) == 32
        assert token.encode() not in digest(token)


class TestATokenThatIsNotWhole:
    @given(st.integers(0, 84), st.sampled_from("0f_x \0é"))
    def test_has_another_character_somewhere(self, position: int, character: str) -> None:
        token = new_token(API_TOKEN)
        changed = token[:position] + character + token[position + 1 :]
        assert is_whole(changed, API_TOKEN) == (changed == token)

    def test_was_cut_or_has_more(self) -> None:
        token = new_token(API_TOKEN)
        for other in (token[:-1], token + "0", token + "\n", " " + token, token.upper(), ""):
            assert not is_whole(other, API_TOKEN)

    def test_is_of_the_other_kind(self) -> None:
        assert not is_whole(new_token(REFRESH_TOKEN), API_TOKEN)
        assert not is_whole(new_token(API_TOKEN), REFRESH_TOKEN)

    @given(st.text(max_size=120))
    def test_is_any_other_text(self, text: str) -> None:
        assert not is_whole(text, API_TOKEN)
