"""The tables. Hot paths write Core statements on them; only users are ever loaded as objects."""

from datetime import date, datetime
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, MetaData, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from book_db.books.text import AUTHOR_MAX, TITLE_MAX

EVENT_KINDS = ("created", "updated", "deleted")


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
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it from the class
        str: Text(),
        int: BigInteger(),
        UUID: Uuid(),
        datetime: TIMESTAMP(timezone=True),
    }


def _kind_is_known() -> CheckConstraint:
    return CheckConstraint(f"kind IN {EVENT_KINDS}", name="kind")


class BookRow(Base):
    """A book at its present version."""

    __tablename__ = "books"
    __table_args__ = (
        # The services check this with better words; here it holds for whoever writes past them.
        CheckConstraint(f"char_length(title) BETWEEN 1 AND {TITLE_MAX}", name="title"),
        CheckConstraint(f"char_length(author) BETWEEN 1 AND {AUTHOR_MAX}", name="author"),
        CheckConstraint("publication_date BETWEEN '0001-01-01' AND '9999-12-31'", name="publication_date"),
        CheckConstraint("version >= 1", name="version"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    title: Mapped[str]
    author: Mapped[str]
    publication_date: Mapped[date]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class OutboxRow(Base):
    """An event that the broker has not confirmed yet. Ascending ids are the order of the events of one book."""

    __tablename__ = "outbox"
    __table_args__ = (_kind_is_known(),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    kind: Mapped[str]
    actor: Mapped[UUID]
    occurred_at: Mapped[datetime]
    traceparent: Mapped[str | None]
    book_id: Mapped[int]
    title: Mapped[str]
    author: Mapped[str]
    publication_date: Mapped[date]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class EventLogRow(Base):
    """An event as it was received, once each."""

    __tablename__ = "event_log"
    __table_args__ = (_kind_is_known(), Index(None, "book_id", "version"))

    position: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    kind: Mapped[str]
    actor: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    book_id: Mapped[int]
    version: Mapped[int]
    title: Mapped[str]
    author: Mapped[str]
    publication_date: Mapped[date]


class User(Base):
    """Someone who may sign in."""

    __tablename__ = "users"
    __table_args__ = (Index("users_email_key", text("lower(email)"), unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str]
    hashed_password: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default="true", default=True)
    is_superuser: Mapped[bool] = mapped_column(server_default="false", default=False)
    is_verified: Mapped[bool] = mapped_column(server_default="false", default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SessionRow(Base):
    """One sign-in. The access tokens that name it are good until it ends."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
