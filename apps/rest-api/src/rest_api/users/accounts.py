"""What a user is to this service."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from book_db.roles import Role
from fastapi_users.models import UserProtocol


class Account(UserProtocol[UUID], Protocol):
    """A user, as book_db.tables.User is one: fastapi-users' type variables do not take that class itself."""

    new_email: str | None
    created_at: datetime

    @property
    def role(self) -> Role: ...
