"""E-mail addresses as they are told apart: by the application alone, whatever the database's collation.

docs/decisions/0028 gives the reasons.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from unicodedata import normalize
from uuid import UUID

import structlog
from sqlalchemy import Engine, Row, select, update
from sqlalchemy.exc import IntegrityError

from book_db.tables import User

_log = structlog.get_logger(__name__)

_BATCH_ROWS: Final = 1_000
_LOWEST: Final = UUID(int=0)


def folded(address: str) -> str:
    """What is the same for all spellings of one address, which must be normalised: the address in small letters.

    They are those of Unicode (section 3.13, toLowercase) and not its case foldings, which make one letter of two: to a
    mail host that tells ``ß`` from ``ss`` these are two mailboxes.
    """
    return normalize("NFC", address.lower())


def with_folded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a user that are to be written: to an address comes what it is looked for by."""
    return {**values, "email_folded": folded(values["email"])} if "email" in values else dict(values)


def fold_addresses(engine: Engine) -> None:
    """Folds the addresses that were written by a release which left it to PostgreSQL's ``lower``, where that differs.

    One that would be the same as another user's then stays as it is, and is logged.
    """
    after = _LOWEST
    while users := _page(engine, after):
        for user in users:
            if user.email_folded != folded(user.email):
                _fold(engine, user)
        after = users[-1].id


def _page(engine: Engine, after: UUID) -> Sequence[Row[UUID, str, str]]:
    page = select(User.id, User.email, User.email_folded).where(User.id > after).order_by(User.id).limit(_BATCH_ROWS)
    with engine.connect() as connection:
        return connection.execute(page).all()


def _fold(engine: Engine, user: Row[UUID, str, str]) -> None:
    same = update(User).where(User.id == user.id, User.email == user.email)
    try:
        with engine.begin() as connection:
            connection.execute(same.values(email_folded=folded(user.email)))
    except IntegrityError:
        _log.warning("an address is that of another user, in other letters", user=str(user.id))
