"""Who is calling: the access token in a call's metadata."""

from book_db.callers import Caller, Callers

from grpc_api.errors import MissingToken
from grpc_api.metadata import Metadata, first


async def identify(metadata: Metadata, callers: Callers) -> Caller:
    """The caller. Raises MissingToken, or InvalidToken when it is not a good one."""
    return await callers.identify(_bearer_token(metadata))


def _bearer_token(metadata: Metadata) -> str:
    """RFC 6750, in metadata instead of a header."""
    scheme, _, token = (first(metadata, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    return token.strip()
