"""Authenticates a caller by the token in a call's metadata."""

from book_db.accounts.authentication import Authenticator, Caller
from book_db.roles import READ_BOOKS

from grpc_api.errors import MissingToken
from grpc_api.metadata import Metadata, first


async def authenticate(metadata: Metadata, authenticator: Authenticator) -> Caller:
    """The caller, who may read books.

    Raises MissingToken, InvalidToken when it is not a good one, and InsufficientScope.
    """
    caller = await authenticator.authenticate(_bearer_token(metadata))
    caller.require_scope(READ_BOOKS)
    return caller


def _bearer_token(metadata: Metadata) -> str:
    """RFC 6750, in metadata instead of a header."""
    scheme, _, token = (first(metadata, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    return token.strip()
