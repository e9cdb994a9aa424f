"""What an answer is good for next: the links of the OpenAPI document (OpenAPI 3.1, 4.8.20)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class Link(NamedTuple):
    """From the answer of one operation to another one. Values may be runtime expressions."""

    source: str
    status: str
    target: str
    description: str
    parameters: Mapping[str, str] = {}
    body: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.target[0].upper() + self.target[1:]

    def as_openapi(self) -> dict[str, Any]:
        link = {"operationId": self.target, "description": self.description, "parameters": dict(self.parameters)}
        return link if self.body is None else link | {"requestBody": dict(self.body)}


_BOOK: Final = {"book_id": "$response.body#/id"}
_SAME_BOOK: Final = {"book_id": "$request.path.book_id"}
_UNCHANGED: Final = {"header.If-Match": "$response.header.ETag"}
_KNOWN: Final = {"header.If-None-Match": "$response.header.ETag"}
_QUESTION: Final = {
    name: f"$request.query.{name}"
    for name in ("author", "title", "q", "published_from", "published_to", "order_by", "page_size", "count")
}
_NEXT_PAGE: Final = {"page_token": "$response.body#/next_page_token"}


def _writes_of(source: str, status: str, book: Mapping[str, str]) -> Iterator[Link]:
    for target in ("replaceBook", "changeBook", "deleteBook"):
        yield Link(
            source, status, target, "Unless somebody else has changed the book meanwhile.", {**book, **_UNCHANGED}
        )


LINKS: Final = (
    Link("createBook", "201", "getBook", "The new book.", _BOOK),
    *_writes_of("createBook", "201", _BOOK),
    Link("createBooks", "201", "getBook", "The first of the new books.", {"book_id": "$response.body#/books/0/id"}),
    Link("getBook", "200", "getBook", "The book again, if it has changed.", _SAME_BOOK | _KNOWN),
    *_writes_of("getBook", "200", _SAME_BOOK),
    Link("replaceBook", "200", "getBook", "The book as it stands now.", _SAME_BOOK),
    *_writes_of("replaceBook", "200", _SAME_BOOK),
    Link("changeBook", "200", "getBook", "The book as it stands now.", _SAME_BOOK),
    *_writes_of("changeBook", "200", _SAME_BOOK),
    Link("listBooks", "200", "listBooks", "The next page, of the same question.", _QUESTION | _NEXT_PAGE),
    Link("listBooks", "200", "getBook", "The first book of the page.", {"book_id": "$response.body#/books/0/id"}),
    Link(
        "register",
        "201",
        "login",
        "Sign in.",
        body={"username": "$request.body#/email", "password": "$request.body#/password"},
    ),
    Link("register", "201", "requestVerification", "Another mail.", body={"email": "$request.body#/email"}),
    Link("login", "200", "refresh", "A new pair of tokens.", body={"refresh_token": "$response.body#/refresh_token"}),
    Link("refresh", "200", "refresh", "The next pair.", body={"refresh_token": "$response.body#/refresh_token"}),
    Link("listSessions", "200", "endSession", "End a session.", {"session_id": "$response.body#/sessions/0/id"}),
    Link("createToken", "201", "removeToken", "Take the token back.", {"token_id": "$response.body#/id"}),
    Link("listTokens", "200", "removeToken", "Take a token back.", {"token_id": "$response.body#/tokens/0/id"}),
    Link("listUsers", "200", "listUsers", "The next page.", {"page_size": "$request.query.page_size"} | _NEXT_PAGE),
    Link("listUsers", "200", "getUser", "The first user of the page.", {"user_id": "$response.body#/users/0/id"}),
    Link("getUser", "200", "changeUser", "Change the user.", {"user_id": "$request.path.user_id"}),
    Link("getUser", "200", "deleteUser", "Remove the user.", {"user_id": "$request.path.user_id"}),
)


def add_to(document: dict[str, Any]) -> None:
    """Writes the links into a document."""
    operations = {
        operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()
    }
    for link in LINKS:
        response = operations[link.source]["responses"][link.status]
        response.setdefault("links", {})[link.name] = link.as_openapi()
