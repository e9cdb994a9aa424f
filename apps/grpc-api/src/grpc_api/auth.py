"""Who is calling: the access token in a call's metadata."""

from collections.abc import Iterable

from book_db.callers import Caller, Callers

from grpc_api.errors import MissingToken


async def identify(metadata: Iterable[tuple[str, str | bytes]], callers: Callers) -> Caller:
    """The caller. Raises MissingToken, or InvalidToken when it is not a good one."""
    return await callers.identify(_bearer_token(metadata))


def _bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """RFC 6750, in lower-case metadata instead of a header."""
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return token.strip()
    raise MissingToken
