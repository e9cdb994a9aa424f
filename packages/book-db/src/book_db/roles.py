"""What users may do, and what the tokens of their programs may be given of it."""

from enum import StrEnum
from typing import Final

READ_BOOKS: Final = "books:read"
WRITE_BOOKS: Final = "books:write"
ALL_SCOPES: Final = frozenset((READ_BOOKS, WRITE_BOOKS))
"""What may be done to books."""


class Role(StrEnum):
    """What a user may do, each more than the one before."""

    READER = "reader"
    """Read books."""
    EDITOR = "editor"
    """Write them."""
    ADMIN = "admin"
    """Manage users: a superuser."""

    @property
    def scopes(self) -> frozenset[str]:
        """What users of this role may do to books, and let programs do."""
        return frozenset((READ_BOOKS,)) if self is Role.READER else ALL_SCOPES

    @property
    def columns(self) -> dict[str, bool]:
        """What is written of it to a user. Superusers were there before there were roles."""
        return {"is_superuser": self is Role.ADMIN, "is_editor": self is not Role.READER}


def role_of(*, is_superuser: bool, is_editor: bool) -> Role:
    """The role of a user with these columns."""
    if is_superuser:
        return Role.ADMIN
    return Role.EDITOR if is_editor else Role.READER
