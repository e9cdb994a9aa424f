"""What can go wrong in the data layer, in words of the domain. The docstring of an error is its message."""

from collections.abc import Sequence
from typing import ClassVar, Final
from uuid import UUID

from book_runtime.errors import DocumentedError

_NAMED: Final = 5
"""Of many in a message; the error has all of them."""


class BookDbError(DocumentedError):
    """The data layer cannot do what was asked."""


class BookNotFound(BookDbError):
    """No book has the id {book_id}."""

    def __init__(self, book_id: int) -> None:
        self.book_id = book_id


class BooksNotFound(BookDbError):
    """No book has these ids: {named}."""

    def __init__(self, book_ids: Sequence[int]) -> None:
        """All ids that no book has, each once."""
        self.book_ids = tuple(book_ids)
        named = ", ".join(map(str, self.book_ids[:_NAMED]))
        more = len(self.book_ids) - _NAMED
        self.named = f"{named} and {more} more" if more > 0 else named


class PositionSwept(BookDbError):
    """Changes up to position {position} are no longer kept. Begin after it, with the catalogue as it is by then."""

    def __init__(self, position: int) -> None:
        self.position = position


class VersionMismatch(BookDbError):
    """Book {book_id} is at version {version} now, which the condition of the request rules out."""

    def __init__(self, book_id: int, version: int) -> None:
        self.book_id = book_id
        self.version = version


class BatchTooLarge(BookDbError):
    """With the words that they are found by, the first {fit} of these books are all that fit into {most:,} bytes.

    Send fewer at a time.
    """

    def __init__(self, fit: int, most: int) -> None:
        self.fit = fit
        self.most = most


class IdempotencyKeyReused(BookDbError):
    """The idempotency key was given to another request within the last 24 hours."""


class InvalidPageToken(BookDbError):
    """The page token is not one that this catalogue gave for these filters in this order."""


class TooManyExports(BookDbError):
    """{at_once} exports {whose} are running, and this service runs no more at once."""

    retry_after: ClassVar[int] = 10
    """Seconds after which asking again makes sense."""

    def __init__(self, at_once: int, *, own: bool) -> None:
        self.at_once = at_once
        self.whose = "of yours" if own else "of all users"


class EmailTaken(BookDbError):
    """Another user has this e-mail address."""


class UserNotFound(BookDbError):
    """No user has the id {user_id}."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id


class InsufficientScope(BookDbError):
    """The token does not have the scope {scope}."""

    def __init__(self, scope: str) -> None:
        self.scope = scope


class InsufficientRole(BookDbError):
    """The user is a {role}, who may read books and not change them."""

    def __init__(self, role: str) -> None:
        self.role = role


class SessionRequired(BookDbError):
    """This is for people who are signed in. An API token does not open it."""


class RefreshRefused(BookDbError):
    """The refresh token is not good any more. Sign in again."""


class SessionNotFound(BookDbError):
    """No session of the user has the id {session_id}."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id


class ApiTokenNotFound(BookDbError):
    """No API token of the user has the id {token_id}."""

    def __init__(self, token_id: UUID) -> None:
        self.token_id = token_id


class TooManyApiTokens(BookDbError):
    """A user may have {most} API tokens at a time. Remove one that is not needed any more."""

    def __init__(self, most: int) -> None:
        self.most = most


class AccessNotFound(BookDbError):
    """The user has no session, token or login with the id {access_id}."""

    def __init__(self, access_id: UUID) -> None:
        self.access_id = access_id


class LinkNotFound(BookDbError):
    """No account of the user with a provider has the id {link_id}."""

    def __init__(self, link_id: UUID) -> None:
        self.link_id = link_id


class LastSuperuser(BookDbError):
    """Nobody would be left who manages users: make another superuser first."""


class Overtaken(BookDbError):
    """Someone else was first, or what was found is so no more: look again."""


class DatabaseUnavailable(BookDbError):
    """The database does not answer just now."""

    retry_after: ClassVar[int] = 1
    """Seconds after which asking again makes sense."""

    @property
    def reason(self) -> str:
        """Why, for those who run this: it may name hosts and roles."""
        return repr(self.__cause__) if self.__cause__ else str(self)


class NotCommitted(DatabaseUnavailable):
    """The database gave up before the commit, so nothing was changed and the same may be asked again."""


class ReadOnlyDatabase(NotCommitted):
    """The database takes no writes just now: it is a standby, or was made read-only."""


class ConnectionLost(DatabaseUnavailable):
    """The connection to the database was lost, and whether the change was committed is not known."""


class SafeToRepeat(DatabaseUnavailable):
    """The connection to the database was lost. With the same key the same may be asked again: it is done once."""


class DatabaseOverloaded(DatabaseUnavailable):
    """The database has too much to do just now: it was waited for too long, and nothing was changed."""


class SchemaNotThere(DatabaseUnavailable):
    """The database has not got the schema of this release yet."""


class RightsMissing(DatabaseUnavailable):
    """The database does not let this service do what was asked."""


class UnfitDatabase(DatabaseUnavailable):
    """The database is not one that this service can work with."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @property
    def reason(self) -> str:
        return self._reason
