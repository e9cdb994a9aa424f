"""The books of one long body, read one by one: as if it were read whole."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rest_api.books import batches
from rest_api.books.batches import drafts_of
from rest_api.books.schemas import BATCH_MAX, JSON_MAX_BYTES, BookDrafts
from rest_api.problems.validation import VIOLATIONS_MAX
from starlette.exceptions import HTTPException

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


def errors_of(body: bytes) -> list[tuple[str, tuple[Any, ...]]]:
    """Kind and place of each."""
    with pytest.raises(RequestValidationError) as refused:
        drafts_of(body)
    return [(error["type"], error["loc"]) for error in refused.value.errors()]


# What JSON text can hold that a reader by signs could stumble over.
TEXT = st.text(alphabet='abc é漢😀"\\[]{},:/\t\n', max_size=12)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BOOK = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXT | ANYTHING,
        "author": TEXT,
        "publication_date": st.sampled_from(["1871-12-01", "1871-02-30"]) | ANYTHING,
    },
).flatmap(lambda book: st.dictionaries(TEXT, ANYTHING, max_size=1).map(lambda more: {**more, **book}))
DOCUMENT = st.fixed_dictionaries({}, optional={"books": st.lists(BOOK | ANYTHING, max_size=4) | ANYTHING}).flatmap(
    lambda document: st.dictionaries(TEXT, ANYTHING, max_size=2).map(lambda more: {**more, **document})
)


class TestABody:
    @given(document=DOCUMENT | ANYTHING, indent=st.none() | st.integers(0, 2), escaped=st.booleans())
    def test_is_read_as_if_it_were_read_whole(self, document: Any, indent: int | None, *, escaped: bool) -> None:
        body = json.dumps(document, indent=indent, ensure_ascii=escaped).encode()
        try:
            whole = [draft.to_draft() for draft in BookDrafts.model_validate(document, from_attributes=True).books]
        except ValidationError as error:
            expected = [(each["type"], ("body", *each["loc"])) for each in error.errors()]
            # One that is no object to pydantic by its type is none to us by its first character.
            kinds = {"model_type": "model_attributes_type"}
            assert sorted(map(repr, errors_of(body))) == sorted(
                repr((kinds.get(kind, kind), place)) for kind, place in expected
            )
        else:
            assert drafts_of(body) == whole

    def test_may_begin_with_a_byte_order_mark(self) -> None:
        assert len(drafts_of(b"\xef\xbb\xbf" + json.dumps({"books": [A_BOOK]}).encode())) == 1

    def test_that_names_its_books_twice_means_the_last(self) -> None:
        [draft] = drafts_of(b'{"books": [], "books": ' + json.dumps([A_BOOK]).encode() + b"}")
        assert draft.title == "Middlemarch"

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            pytest.param('{"books": [', 11, id="cut-off"),
            pytest.param("", None, id="empty"),
            pytest.param('{"é": nix}', 7, id="no-value"),
            pytest.param('{"books": []} x', 15, id="more-behind-it"),
            pytest.param('{"books": [{"title": NaN}]}', 21, id="not-a-number"),
        ],
    )
    def test_that_is_no_json_says_where(self, body: str, place: int | None) -> None:
        [(kind, where)] = errors_of(body.encode())
        assert (kind, where) == (("missing", ("body",)) if place is None else ("json_invalid", ("body", place)))

    @pytest.mark.parametrize("body", [b'{"books": [{"title": "\xff"}]}', b'{"\xff": 1}'], ids=["value", "name"])
    def test_that_is_no_utf_8_is_refused(self, body: bytes) -> None:
        [(kind, _)] = errors_of(body)
        assert kind == "json_invalid"

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'{"books": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", id="depth"),
            pytest.param(b'{"books": [{"title": ' + b"1" * 5_000 + b"}]}", id="digits"),
        ],
    )
    def test_that_python_does_not_read_is_refused(self, body: bytes) -> None:
        with pytest.raises(HTTPException) as refused:
            drafts_of(body)
        assert refused.value.status_code == 400


class TestTooMuch:
    def test_no_more_errors_are_looked_for_than_are_told(self) -> None:
        errors = errors_of(json.dumps({"books": [{}] * BATCH_MAX}).encode())
        assert VIOLATIONS_MAX <= len(errors) < VIOLATIONS_MAX + 3

    def test_no_more_unknown_fields_are_looked_at_than_are_told(self) -> None:
        errors = errors_of(json.dumps({"books": [A_BOOK | {f"x{number}": 1 for number in range(5_000)}]}).encode())
        assert VIOLATIONS_MAX - len(A_BOOK) < len(errors) <= VIOLATIONS_MAX

    def test_a_book_is_not_longer_than_one_that_is_sent_alone(self) -> None:
        longest = A_BOOK | {"x": "x" * JSON_MAX_BYTES}
        assert errors_of(json.dumps({"books": [A_BOOK, longest]}).encode()) == [("too_large", ("body", "books", 1))]

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'{"books": [' + b"[]," * 100_000 + b"[]]}", id="signs"),
            pytest.param(b'{"books": [{"title": "' + rb"\n" * 50_000 + b'"}]}', id="a-string-of-escapes"),
        ],
    )
    def test_more_in_it_than_a_thousand_books_is_refused_whole(self, body: bytes) -> None:
        assert errors_of(body) == [("too_large", ("body",))]

    def test_the_longest_title_is_still_read_all_of_it_escaped_in_pairs(self) -> None:
        book = A_BOOK | {"title": "😀" * 2_000, "author": "漢" * 1_000}
        [draft] = drafts_of(json.dumps({"books": [book]}, ensure_ascii=True).encode())
        assert draft.title == book["title"]

    def test_nothing_after_the_last_book_that_may_be_sent_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[int] = []
        parts = batches._parts

        def counted(*arguments: Any) -> Iterator[tuple[int, int]]:
            for part in parts(*arguments):
                read.append(1)
                yield part

        monkeypatch.setattr(batches, "_parts", counted)
        assert errors_of(json.dumps({"books": [A_BOOK] * 3 * BATCH_MAX}).encode()) == [("too_long", ("body", "books"))]
        assert len(read) == 1 + BATCH_MAX + 1
