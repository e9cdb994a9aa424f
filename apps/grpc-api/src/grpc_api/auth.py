"""Who is calling: the token in a call's metadata."""

from book_db.accounts.authentication import Caller, Callers
from book_db.roles import READ_BOOKS

from grpc_api.errors import MissingToken
from grpc_api.metadata import Metadata, first


async def identify(metadata: Metadata, callers: Callers) -> Caller:
    """The caller, who may read books.

    Raises MissingToken, InvalidToken when it is not a good one, and InsufficientScope.
    """
    caller = await callers.identify(_bearer_token(metadata))
    caller.demand(READ_BOOKS)
    return caller


def _bearer_token(metadata: Metadata) -> str:
    """RFC 6750, in metadata instead of a header."""
    scheme, _, token = (first(metadata, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    return token.strip()
