"""The tables. Hot paths write Core statements on them; only users are ever loaded as objects."""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from msgspec import NODEFAULT
from msgspec.structs import fields
from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from book_db import folding
from book_db.book import AUTHOR_MAX, TITLE_MAX, Book, Draft
from book_db.roles import Role, role_of

BOOK_COLUMNS: Final = ", ".join(Book.__struct_fields__)
"""For SQL: what makes a ``Book``, in the order of its fields."""

DRAFT_COLUMNS: Final = ", ".join(Draft.__struct_fields__)

EVENT_KINDS = ("created", "updated", "deleted")

SORTED_LENGTH: Final = 200
"""Characters by which titles and authors are sorted: an index takes no entry longer than a third of a page."""

_FOLDINGS: Final = 1_000
WORDS_VERSION_OF_NEW: Final = _FOLDINGS + folding.VERSION
"""Of a book at its first version, with the words that this release makes."""


def words_version_of(version: str) -> str:
    """SQL for what tells that the words of a book are those of a version, folded as this release does it."""
    return f"{version} * {_FOLDINGS} + {folding.VERSION}"


WITHOUT_WORDS: Final = (
    f"words_version IS DISTINCT FROM {words_version_of('version')} OR title_words IS NULL OR author_words IS NULL"
)
"""Books whose words, or those of their present version, nobody has made, or not as this release folds them."""

_CODE_POINTS: Final = Text(collation="C")
"""Sorted by code point, which is the same on every machine and stays so when its libraries are updated."""


_TYPES: Final[dict[Any, TypeEngine[Any]]] = {
    str: Text(),
    int: BigInteger(),
    UUID: Uuid(),
    date: Date(),
    datetime: TIMESTAMP(timezone=True),
}


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )
    type_annotation_map = _TYPES


def _kind_is_known() -> CheckConstraint:
    return CheckConstraint(f"kind IN {EVENT_KINDS}", name="kind")


class _BookColumns:
    """A column for each field of a book but its id. A table says itself what is particular to its own."""


for _field in fields(Book):
    if _field.name != "id":
        # A default is one of the column too: the release before writes rows that lack a new field.
        _default = None if _field.default is NODEFAULT else _field.default
        _column = mapped_column(_TYPES[_field.type], nullable=False, server_default=_default)
        setattr(_BookColumns, _field.name, _column)


class BookRow(_BookColumns, Base):
    """A book at its present version."""

    __tablename__ = "books"
    __table_args__ = (
        # The services check this with better words; here it holds for whoever writes past them.
        CheckConstraint(f"char_length(title) BETWEEN 1 AND {TITLE_MAX}", name="title"),
        CheckConstraint(f"char_length(author) BETWEEN 1 AND {AUTHOR_MAX}", name="author"),
        CheckConstraint("publication_date BETWEEN '0001-01-01' AND '9999-12-31'", name="publication_date"),
        CheckConstraint("version >= 1", name="version"),
        # One for each order that a list may be asked for; the id decides between equals.
        Index("books_title_id_idx", text(f'"left"(title, {SORTED_LENGTH})'), "id"),
        Index("books_author_id_idx", text(f'"left"(author, {SORTED_LENGTH})'), "id"),
        Index("books_publication_date_id_idx", "publication_date", "id"),
        Index("books_version_id_idx", "version", "id"),
        Index("books_created_at_id_idx", "created_at", "id"),
        Index("books_updated_at_id_idx", "updated_at", "id"),
        Index("books_words_idx", text("(title_words || author_words)"), postgresql_using="gin"),
        # Empty but for the books that `book_db.books.indexing` looks for at each start.
        Index("books_without_words_idx", "id", postgresql_where=text(WITHOUT_WORDS)),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(_CODE_POINTS)
    author: Mapped[str] = mapped_column(_CODE_POINTS)
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    title_words: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    author_words: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """What the book is found by, as book_db.books.words makes it. NULL: nobody has made them yet."""
    words_version: Mapped[int | None]
    """Of which version these words are, and by which folding. Another one than the present: the book was written by who
    knows nothing of words, or makes others."""


class _Event(_BookColumns):
    """What is kept of an event until the broker has it."""

    kind: Mapped[str]
    actor: Mapped[UUID]
    occurred_at: Mapped[datetime]
    traceparent: Mapped[str | None]
    book_id: Mapped[int]


EVENT_COLUMNS: Final = f"kind, actor, occurred_at, traceparent, book_{BOOK_COLUMNS}"
"""For SQL: what tells of the event, then what makes a ``Book``, whose id is in ``book_id``."""


class OutboxRow(_Event, Base):
    """An event that the broker has not confirmed yet. Ascending ids are the order of the events of one book."""

    __tablename__ = "outbox"
    __table_args__ = (_kind_is_known(),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())


class ParkedEventRow(_Event, Base):
    """An event that could not be published and never will be as it is: out of the way of those behind it."""

    __tablename__ = "parked_events"

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    parked_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    reason: Mapped[str]


class EventLogRow(_BookColumns, Base):
    """An event as it was received, once each."""

    __tablename__ = "event_log"
    __table_args__ = (_kind_is_known(), Index(None, "book_id", "position"))

    position: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    kind: Mapped[str]
    actor: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    book_id: Mapped[int]
    created_at: Mapped[datetime | None] = mapped_column()
    updated_at: Mapped[datetime | None] = mapped_column()
    """Of the book. NULL: recorded by a release that kept neither."""


class EventLogSweepRow(Base):
    """Up to which position events were deleted from the log, the highest counts."""

    __tablename__ = "event_log_sweeps"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class User(Base):
    """Someone who may sign in."""

    __tablename__ = "users"
    __table_args__ = (
        Index("users_email_folded_key", "email_folded", unique=True),
        # The release before looks for users by it.
        Index("users_email_idx", text("lower(email)")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str]
    email_folded: Mapped[str]
    """What the address is looked for by, as book_db.accounts.addresses makes it. The release before leaves it to a
    trigger.
    """
    new_email: Mapped[str | None]
    """The address that is in force when it is confirmed."""
    hashed_password: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default="true", default=True)
    is_superuser: Mapped[bool] = mapped_column(server_default="false", default=False)
    is_editor: Mapped[bool] = mapped_column(server_default="true", default=True)
    is_verified: Mapped[bool] = mapped_column(server_default="false", default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def role(self) -> Role:
        return role_of(is_superuser=self.is_superuser, is_editor=self.is_editor)


class SessionRow(Base):
    """One sign-in. The access tokens that name it are good until it ends."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the user last signed in or refreshed."""
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    """Of the client that signed in, for the user to recognise it by."""


class RefreshTokenRow(Base):
    """A refresh token. Those of one session are a family, of which one is good at a time."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """SHA-256; the token itself is known to its bearer alone."""
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    used_at: Mapped[datetime | None]


class ApiTokenRow(Base):
    """A token with which a program acts for a user, within its scopes."""

    __tablename__ = "api_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """SHA-256, as for refresh tokens."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class OAuthAccountRow(Base):
    """A user's account with a provider, good for signing in. The provider's tokens are not kept."""

    __tablename__ = "oauth_accounts"
    __table_args__ = (UniqueConstraint("provider", "account_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    provider: Mapped[str]
    account_id: Mapped[str]
    """What the provider calls the account, for ever."""
    account_email: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AccountEventRow(Base):
    """Something that was done, or tried, with an account. It outlives the user."""

    __tablename__ = "account_events"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    kind: Mapped[str]
    outcome: Mapped[str]
    user_id: Mapped[UUID | None]
    """Whose account it is. NULL: nobody's, or it is not known whose."""
    actor_id: Mapped[UUID | None]
    """Who did it, if signed in."""
    session_id: Mapped[UUID | None]
    address: Mapped[str | None]
    trace_id: Mapped[str | None]
    detail: Mapped[str | None]


class IdempotencyKeyRow(Base):
    """A key that a user gave to a write, and what the write made. Good for a day."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """Of what was asked for: the same key with another one is a mistake."""
    book_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """The books that were made, in their order. The rest of them is in the request that has this fingerprint."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
