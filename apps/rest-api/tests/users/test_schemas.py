from typing import Any
from uuid import UUID

import pytest
from book_db.errors import InvalidPageToken
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from rest_api.users import page_tokens
from rest_api.users.addresses import normalised
from rest_api.users.schemas import NewPassword, UserCreate, UserUpdate, UserUpdateBySuperuser


def places_of_errors(model: type[BaseModel], body: dict[str, Any]) -> list[tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    return [error["loc"] for error in refused.value.errors()]


class TestUserCreate:
    @pytest.mark.parametrize(
        ("changed", "place"),
        [
            pytest.param({"email": ""}, "email", id="empty-address"),
            pytest.param({"email": "Ada <ada@example.org>"}, "email", id="address-with-name"),
            pytest.param({"email": "ada@example.org\r\nBcc: all@example.org"}, "email", id="address-with-header"),
            pytest.param({"email": "ada@example.org, all@example.org"}, "email", id="two-addresses"),
            pytest.param({"email": "a\0da@example.org"}, "email", id="address-with-nul"),
            pytest.param({"email": "\ud800@example.org"}, "email", id="address-with-lone-surrogate"),
            pytest.param({"email": '"a da"@example.org'}, "email", id="quoted-local-part"),
            pytest.param({"email": "ada@[127.0.0.1]"}, "email", id="address-of-a-machine"),
            pytest.param({"email": "ada@localhost"}, "email", id="address-without-domain"),
            pytest.param({"email": f"{'a' * 60}@{'b' * 63}.{'c' * 63}.{'d' * 63}.org"}, "email", id="long-address"),
            pytest.param({"email": None}, "email", id="null-address"),
            pytest.param({"email": 7}, "email", id="number-as-address"),
            pytest.param({"password": ["correct horse battery"]}, "password", id="password-in-a-list"),
            pytest.param({"password": None}, "password", id="null-password"),
            pytest.param({"is_verified": True}, "is_verified", id="verified"),
            pytest.param({"is_active": True}, "is_active", id="active"),
            pytest.param({"id": "1"}, "id", id="id"),
            pytest.param({"hashed_password": "$argon2id$"}, "hashed_password", id="hash"),
        ],
    )
    def test_refuses(self, changed: dict[str, Any], place: str) -> None:
        body = {"email": "ada@example.org", "password": "correct horse battery"} | changed
        assert places_of_errors(UserCreate, body) == [(place,)]


class TestUpdates:
    @pytest.mark.parametrize(
        ("model", "body"),
        [
            pytest.param(UserUpdate, {"current_password": "correct horse battery"}, id="of-oneself"),
            pytest.param(UserUpdateBySuperuser, {}, id="of-others"),
        ],
    )
    def test_name_a_field(self, model: type[BaseModel], body: dict[str, Any]) -> None:
        assert places_of_errors(model, body) == [()]

    def test_of_oneself_want_the_password_as_it_is_now(self) -> None:
        assert places_of_errors(UserUpdate, {"email": "ada@example.org"}) == [("current_password",)]

    @pytest.mark.parametrize("field", ["email", "password", "is_active", "is_superuser", "is_verified"])
    def test_set_nothing_to_null(self, field: str) -> None:
        assert places_of_errors(UserUpdateBySuperuser, {field: None}) == [(field,)]

    @pytest.mark.parametrize("field", ["is_active", "is_superuser", "is_verified"])
    def test_are_not_for_oneself_where_rights_are_at_stake(self, field: str) -> None:
        assert places_of_errors(UserUpdate, {"current_password": "x", field: True}) == [(field,)]

    @pytest.mark.parametrize("value", [0, 1, "true", "no"])
    def test_take_true_and_false_and_nothing_like_it(self, value: object) -> None:
        assert places_of_errors(UserUpdateBySuperuser, {"is_active": value}) == [("is_active",)]

    def test_hold_what_was_named_and_nothing_else(self) -> None:
        assert UserUpdateBySuperuser.model_validate({"is_active": False}).values() == {"is_active": False}


class TestNewPassword:
    @pytest.mark.parametrize("token", ["", "x" * 1_025, None, 7])
    def test_wants_a_token(self, token: object) -> None:
        assert places_of_errors(NewPassword, {"token": token, "password": "correct horse battery"}) == [("token",)]


class TestAddresses:
    @given(st.text(max_size=300) | st.emails())
    def test_are_refused_or_have_one_form(self, text: str) -> None:
        try:
            address = normalised(text)
        except ValueError:
            return
        assert normalised(address) == address
        assert len(address) <= 254
        assert address.isprintable()


class TestPageTokens:
    @given(st.uuids())
    def test_lead_back_to_where_they_came_from(self, user_id: UUID) -> None:
        assert page_tokens.decode(page_tokens.encode(user_id)) == user_id

    @given(st.uuids(), st.integers(min_value=0, max_value=31), st.sampled_from("AZaz09-_=. \0é"))
    def test_that_were_tampered_with_are_refused(self, user_id: UUID, position: int, character: str) -> None:
        token = page_tokens.encode(user_id)
        changed = token[:position] + character + token[position + 1 :]
        if changed != token:
            with pytest.raises(InvalidPageToken):
                page_tokens.decode(changed)

    @given(st.text(max_size=100))
    def test_of_others_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidPageToken):
            page_tokens.decode(text)
