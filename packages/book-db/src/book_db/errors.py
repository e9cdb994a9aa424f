"""What can go wrong in the data layer, in words of the domain. The docstring of an error is its message."""

from typing import ClassVar
from uuid import UUID


class BookDbError(Exception):
    """The data layer cannot do what was asked."""

    def __init__(self, **facts: object) -> None:
        self.facts: dict[str, object] = facts
        super().__init__((type(self).__doc__ or "").format(**facts))


class BookNotFound(BookDbError):
    """No book has the id {book_id}."""

    def __init__(self, book_id: int) -> None:
        self.book_id = book_id
        super().__init__(book_id=book_id)


class InvalidPageToken(BookDbError):
    """The page token is not one that this catalogue gave."""


class EmailTaken(BookDbError):
    """Another user has this e-mail address."""


class UserNotFound(BookDbError):
    """No user has the id {user_id}."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        super().__init__(user_id=user_id)


class DatabaseUnavailable(BookDbError):
    """The database does not answer just now."""

    retry_after: ClassVar[int] = 1
    """Seconds after which asking again makes sense."""


class NotCommitted(DatabaseUnavailable):
    """The database gave up before the commit, so nothing was changed and the same may be asked again."""


class ConnectionLost(DatabaseUnavailable):
    """The connection to the database was lost, and whether the change was committed is not known."""


class DatabaseOverloaded(DatabaseUnavailable):
    """The database has too much to do just now: it was waited for too long, and nothing was changed."""
