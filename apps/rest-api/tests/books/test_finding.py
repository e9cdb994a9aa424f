"""Finding books over HTTP, on a real database."""

import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from book_db.text import clean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_api.books.finding import Filters

BOOKS = "/api/v1/books"
INT64_MAX = 2**63 - 1


def a_book(title: str = "Middlemarch", author: str = "George Eliot", day: str = "1871-12-01") -> dict[str, str]:
    return {"title": title, "author": author, "publication_date": day}


async def added(client: httpx.AsyncClient, books: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    answer = await client.post(f"{BOOKS}/batch", json={"books": books})
    assert answer.status_code == 201, answer.text
    return list(answer.json()["books"])


async def listed(client: httpx.AsyncClient, **parameters: str | int) -> dict[str, Any]:
    answer = await client.get(BOOKS, params=parameters)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def titles(client: httpx.AsyncClient, **parameters: str | int) -> list[str]:
    return [book["title"] for book in (await listed(client, **parameters))["books"]]


def violation_of(answer: httpx.Response) -> tuple[str, str]:
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:colophon:invalid"
    [violation] = problem["errors"]
    return violation["parameter"], violation["detail"]


def is_clean(text: str) -> bool:
    try:
        return clean(text, at_most=100) == text
    except ValueError:
        return False


cleaned = st.text(st.sampled_from("\\*aé é\u0301𝔉") | st.characters(), min_size=1, max_size=10).filter(is_clean)


def with_backslashes_doubled(text: str) -> str:
    """The backslashes at its end, that is."""
    rest = text.rstrip("\\")
    return rest + 2 * text[len(rest) :]


class TestListBooks:
    async def test_an_empty_catalogue_has_one_empty_page(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(BOOKS)
        assert answer.json() == {"books": [], "next_page_token": None, "total": None}
        assert "link" not in answer.headers

    async def test_pages_through_every_book_once(self, client: httpx.AsyncClient) -> None:
        books = await added(client, [a_book(f"Volume {number}") for number in range(25)])
        pages = [await listed(client, page_size=10)]
        while token := pages[-1]["next_page_token"]:
            pages.append(await listed(client, page_size=10, page_token=token))
        assert [book for page in pages for book in page["books"]] == books
        assert [len(page["books"]) for page in pages] == [10, 10, 5]

    @pytest.mark.parametrize("page_size", ["0", "-1", "1001", "ten", "1e1", str(INT64_MAX + 1), ""])
    async def test_refuses_a_page_size_out_of_bounds(self, client: httpx.AsyncClient, page_size: str) -> None:
        parameter, _ = violation_of(await client.get(BOOKS, params={"page_size": page_size}))
        assert parameter == "page_size"

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
    @given(token=st.text(min_size=1, max_size=1_200))
    async def test_refuses_a_page_token_that_it_did_not_give(self, client: httpx.AsyncClient, token: str) -> None:
        parameter, _ = violation_of(await client.get(BOOKS, params={"page_token": token}))
        assert parameter == "page_token"

    @pytest.mark.parametrize(
        ("query", "parameter", "detail"),
        [
            pytest.param("autor=Eliot", "autor", "is not known here", id="a-typo"),
            pytest.param("author=", "author", "must not be blank", id="an-empty-author"),
            pytest.param("author=*", "author", "must have something before the *", id="a-star-alone"),
            pytest.param("title=%20*", "title", "must have something before the *", id="a-blank-and-a-star"),
            pytest.param("title=a%00b", "title", "must not contain the character U+0000", id="nul"),
            pytest.param(
                "author=" + "x" * 1_001,
                "author",
                "must have at most 1,000 characters, this has 1,001",
                id="long-author",
            ),
            pytest.param("q=!!!", "q", "must have a word or a number in it", id="a-question-without-a-word"),
            pytest.param("q=", "q", "must not be blank", id="an-empty-question"),
            pytest.param("q=a%0Ab", "q", "must not contain the character U+000A", id="a-question-of-two-lines"),
            pytest.param(
                "published_from=1871-02-30",
                "published_from",
                "is not a day of the calendar",
                id="no-day-of-the-calendar",
            ),
            pytest.param("published_to=1871", "published_to", "must be a date written YYYY-MM-DD", id="a-year-alone"),
            pytest.param(
                "published_from=1872-01-01&published_to=1871-12-31",
                "published_to",
                "must not be before published_from",
                id="ends-before-it-begins",
            ),
            pytest.param("order_by=name", "order_by", "'-publication_date'", id="an-unknown-field"),
            pytest.param("order_by=title,author", "order_by", "'title'", id="two-fields"),
            pytest.param("order_by=%2Btitle", "order_by", "'title'", id="a-plus"),
            pytest.param("count=all", "count", "'exact' or 'estimated'", id="an-unknown-count"),
            pytest.param("author=A&author=B", "author", "must be given once", id="twice"),
            pytest.param("page_size=1&page_size=1", "page_size", "must be given once", id="twice-the-same"),
        ],
    )
    async def test_refuses_what_it_does_not_understand_and_names_it(
        self, client: httpx.AsyncClient, query: str, parameter: str, detail: str
    ) -> None:
        name, what = violation_of(await client.get(f"{BOOKS}?{query}"))
        assert name == parameter
        assert detail in what

    async def test_names_all_that_is_wrong_at_once(self, client: httpx.AsyncClient) -> None:
        problem = (await client.get(BOOKS, params={"autor": "x", "q": "!", "page_size": 0})).json()
        assert {violation["parameter"] for violation in problem["errors"]} == {"autor", "q", "page_size"}


class TestFilters:
    async def test_each_finds_what_it_says(self, client: httpx.AsyncClient) -> None:
        await added(
            client,
            [
                a_book("Middlemarch", "George Eliot", "1871-12-01"),
                a_book("Animal Farm", "George Orwell", "1945-08-17"),
                a_book("Les Misérables", "Victor Hugo", "1862-03-30"),
                a_book("E*", "George", "2000-02-29"),
            ],
        )
        assert await titles(client, author="George Eliot") == ["Middlemarch"]
        assert await titles(client, author="George*") == ["Middlemarch", "Animal Farm", "E*"]
        assert await titles(client, author="George *") == ["Middlemarch", "Animal Farm"]
        assert await titles(client, author="george*") == []
        assert await titles(client, title=" Les Mise\u0301r*") == ["Les Misérables"]
        assert await titles(client, title=r"E\*") == ["E*"]
        assert await titles(client, title="E**") == ["E*"]
        assert await titles(client, q="MISERABLES victor") == ["Les Misérables"]
        assert await titles(client, q="farm eliot") == []
        assert await titles(client, published_from="1862-03-30", published_to="1871-12-01") == [
            "Middlemarch",
            "Les Misérables",
        ]
        assert await titles(client, published_from="1945-08-18") == ["E*"]
        assert await titles(client, published_to="1862-03-30") == ["Les Misérables"]

    async def test_words_are_found_as_people_type_them(self, client: httpx.AsyncClient) -> None:
        """packages/book-db/tests/books/as_people_type.tsv has many more."""
        await added(
            client, [a_book("Qurʼān"), a_book("Solaris", "Stanisław Lem"), a_book("The Hobbit", "J.R.R. Tolkien")]
        )
        for typed in ("quran", "qur'an", "Qur’an", "QUR AN"):
            assert await titles(client, q=typed) == ["Qurʼān"]
        assert await titles(client, q="stanislaw lem") == ["Solaris"]
        assert await titles(client, q="jrr tolkien") == ["The Hobbit"]
        assert await titles(client, q="tolkein") == []

    async def test_pages_of_a_word_in_several_spellings_hang_together(self, client: httpx.AsyncClient) -> None:
        books = await added(client, [a_book(title) for title in ("O’Neill", "Oneill", "Emma", "O Neill", "O'Neill")])
        first = await listed(client, q="o'neill", page_size="2", count="exact")
        rest = await listed(client, q="o'neill", page_size="2", page_token=first["next_page_token"])
        assert first["total"] == 4
        assert [*first["books"], *rest["books"]] == [book for book in books if book["title"] != "Emma"]

    async def test_together_they_all_hold(self, client: httpx.AsyncClient) -> None:
        await added(
            client, [a_book(title, day=day) for title in ("Emma", "Evelina") for day in ("1778-01-29", "1815-12-23")]
        )
        found = (await listed(client, author="George*", q="eliot", title="E*", published_from="1800-01-01"))["books"]
        assert [(book["title"], book["publication_date"]) for book in found] == [
            ("Emma", "1815-12-23"),
            ("Evelina", "1815-12-23"),
        ]

    async def test_what_was_changed_is_found_by_its_new_words_alone(self, client: httpx.AsyncClient) -> None:
        [book] = await added(client, [a_book("Emma", "Jane Austen")])
        await client.patch(f"{BOOKS}/{book['id']}", json={"title": "Persuasion"})
        assert await titles(client, q="persuasion austen") == ["Persuasion"]
        assert await titles(client, q="emma") == []

    @pytest.mark.parametrize(
        ("value", "exact", "prefix"),
        [
            pytest.param("George", "George", None, id="exact"),
            pytest.param("George*", None, "George", id="beginning"),
            pytest.param(" George* ", None, "George", id="trimmed"),
            pytest.param("George *", None, "George ", id="a-beginning-may-end-in-a-blank"),
            pytest.param("Ge*rge", "Ge*rge", None, id="a-star-within-is-a-star"),
            pytest.param(r"George\*", "George*", None, id="a-star-at-the-end"),
            pytest.param("George**", None, "George*", id="begins-with-a-star-at-the-end"),
            pytest.param("George\\", "George\\", None, id="a-backslash-at-the-end"),
            pytest.param("\\\\George", "\\\\George", None, id="backslashes-without-a-star"),
            pytest.param("George\\\\*", None, "George\\", id="a-beginning-that-ends-in-a-backslash"),
            pytest.param("George\\\\\\*", "George\\*", None, id="a-backslash-and-a-star-at-the-end"),
            pytest.param(r"\*", "*", None, id="a-star-and-nothing-else"),
            pytest.param("e\u0301*", None, "\u00e9", id="composed"),
            pytest.param("\u200b*", None, "\u200b", id="invisible-as-yet"),
        ],
    )
    def test_of_text_are_exact_or_the_beginning(self, value: str, exact: str | None, prefix: str | None) -> None:
        selection = Filters(author=value, title=value).to_selection()
        assert (selection.author, selection.author_prefix) == (exact, prefix)
        assert (selection.title, selection.title_prefix) == (exact, prefix)

    @given(cleaned)
    def test_of_text_can_ask_for_any_text_there_is(self, text: str) -> None:
        written = f"{with_backslashes_doubled(text[:-1])}\\*" if text.endswith("*") else text
        assert Filters(title=written).to_selection().title == text
        assert Filters(title=f"{with_backslashes_doubled(text)}*").to_selection().title_prefix == text


class TestOrder:
    FIELDS = ("id", "title", "author", "publication_date", "version", "created_at", "updated_at")

    @pytest.mark.parametrize("field", FIELDS)
    async def test_is_by_any_field_up_and_down(self, client: httpx.AsyncClient, field: str) -> None:
        for number in (3, 1, 2, 3, 1):
            await added(client, [a_book(f"Volume {number}", f"Author {-number % 3}", f"200{number}-01-01")])
        first = (await listed(client))["books"][0]["id"]
        await client.patch(f"{BOOKS}/{first}", json={"title": "Volume 2"})
        up = (await listed(client, order_by=field))["books"]
        assert up == sorted(up, key=lambda book: (book[field], book["id"]))
        assert (await listed(client, order_by=f"-{field}"))["books"] == up[::-1]


class TestTheNextPage:
    async def test_is_linked_with_everything_that_was_asked_for(self, client: httpx.AsyncClient) -> None:
        await added(client, [a_book(f"Éloge & <100%> n° {number}") for number in range(5)])
        query = {"q": "éloge <100>", "author": "George*", "order_by": "-title", "page_size": "2", "count": "exact"}
        answer = await client.get(BOOKS, params=query)
        seen = answer.json()["books"]
        while "link" in answer.headers:
            assert re.fullmatch(r'</api/v1/books\?[!-~]+>; rel="next"', answer.headers["link"])
            link = httpx.URL(answer.links["next"]["url"])
            token = answer.json()["next_page_token"]
            assert dict(link.params) == query | {"page_token": token}
            answer = await client.get(answer.links["next"]["url"])
            assert answer.json()["total"] == 5
            seen += answer.json()["books"]
        assert [book["title"][-1] for book in seen] == list("43210")

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"author": "George Eliot"}, id="exact-instead-of-the-beginning"),
            pytest.param({"author": None}, id="without-the-filter"),
            pytest.param({"q": "eliot"}, id="one-filter-more"),
            pytest.param({"order_by": "-title"}, id="the-other-way-round"),
            pytest.param({"order_by": "author"}, id="by-another-field-of-the-same-kind"),
            pytest.param({"order_by": "id"}, id="by-id"),
        ],
    )
    async def test_is_of_the_same_list(self, client: httpx.AsyncClient, other: dict[str, str | None]) -> None:
        await added(client, [a_book()] * 3)
        query: dict[str, str | None] = {"author": "George*", "order_by": "title", "page_size": "1"}
        token = (await client.get(BOOKS, params=query)).json()["next_page_token"]
        query = {name: value for name, value in (query | other).items() if value is not None}
        parameter, detail = violation_of(await client.get(BOOKS, params=query | {"page_token": token}))
        assert (parameter, detail[:36]) == ("page_token", "The page token is not one that this ")

    async def test_may_be_of_another_size(self, client: httpx.AsyncClient) -> None:
        books = await added(client, [a_book()] * 5)
        token = (await listed(client, page_size=1))["next_page_token"]
        assert (await listed(client, page_size=3, page_token=token))["books"] == books[1:4]

    async def test_can_begin_after_the_longest_title(self, client: httpx.AsyncClient) -> None:
        books = await added(client, [a_book("\U0010ffff" * 2_000)] * 2)
        first = await listed(client, order_by="title", page_size=1)
        second = await listed(client, order_by="title", page_size=1, page_token=first["next_page_token"])
        assert first["books"] + second["books"] == books
        print(f"the longest page token has {len(first['next_page_token'])} characters")


class TestTheTotal:
    async def test_is_told_on_request_only(self, client: httpx.AsyncClient) -> None:
        await added(client, [a_book()] * 3)
        assert (await listed(client))["total"] is None

    async def test_is_of_all_pages_and_every_filter(self, client: httpx.AsyncClient) -> None:
        await added(client, [a_book("Emma")] * 3 + [a_book("Romola")] * 4)
        for parameters, total in (({}, 7), ({"title": "Emma"}, 3), ({"q": "romola", "author": "George*"}, 4)):
            first = await listed(client, count="exact", page_size=2, **parameters)
            second = await listed(client, count="exact", page_size=2, page_token=first["next_page_token"], **parameters)
            assert (first["total"], second["total"]) == (total, total)

    async def test_of_a_list_of_one_page_is_exact_in_any_case(self, client: httpx.AsyncClient) -> None:
        await added(client, [a_book()] * 3)
        assert (await listed(client, count="estimated"))["total"] == 3
        assert (await listed(client, count="estimated", q="none"))["total"] == 0
