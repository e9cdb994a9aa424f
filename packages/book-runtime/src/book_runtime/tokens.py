"""Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037). Who has only the public key can verify."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "colophon"
AUDIENCE: Final = "colophon"
REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "sid", "iat", "exp")

MAX_LENGTH: Final = 4096
"""Characters. A token of ours has about 400; what is longer is refused before it is parsed."""

CLOCK_SKEW: Final = 5
"""Seconds that the clock of the signer may be ahead of the verifier's."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that was verified says."""

    subject: UUID
    """The user."""
    session: UUID
    """The sign-in that the token came from."""
    expires: datetime
    """UTC."""


class InvalidToken(Exception):
    """The access token is refused: {reason}."""

    def __init__(self, reason: str) -> None:
        """`reason` is a clause for people, and holds nothing of the token."""
        self.reason = reason
        super().__init__((InvalidToken.__doc__ or "").format(reason=reason))


_REASONS: Final[dict[type[jwt.PyJWTError], str]] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for somebody else (aud)",
    jwt.InvalidIssuerError: "it is from somebody else (iss)",
    jwt.MissingRequiredClaimError: "a claim is missing",
    jwt.InvalidAlgorithmError: f"it is not signed with {ALGORITHM}",
    jwt.InvalidSignatureError: "its signature does not fit",
}


class TokenVerifier:
    """Tells a good token from every other."""

    def __init__(self, public_key_pem: bytes) -> None:
        """Raises ValueError when the PEM is not an Ed25519 public key."""
        self._key = _load_public_key(public_key_pem)

    def verify(self, token: str) -> Claims:
        """What the token says; raises InvalidToken when it is not ours, not valid now or not complete."""
        if len(token) > MAX_LENGTH or not token.isascii():
            raise InvalidToken("it is malformed")
        return _read_claims(self._decode(token))

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # PyJWT's leeway would let a token live on after `exp`, so `iat` is compared below.
                options={"require": list(REQUIRED_CLAIMS), "strict_aud": True, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            # Not `from error`: its text may quote the token, and chained errors end in logs.
            raise InvalidToken(_REASONS.get(type(error), "it is malformed")) from None


def _load_public_key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key in PEM form (-----BEGIN PUBLIC KEY-----)")  # noqa: TRY004 - the argument has the right type
    return key


def _read_claims(claims: dict[str, Any]) -> Claims:
    if _whole_number(claims, "iat") > time.time() + CLOCK_SKEW:
        raise InvalidToken("it is not valid yet")
    return Claims(
        subject=_uuid(claims, "sub"),
        session=_uuid(claims, "sid"),
        expires=_moment(_whole_number(claims, "exp")),
    )


def _whole_number(claims: dict[str, Any], name: str) -> int:
    number = claims[name]
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidToken(f"its {name} is not a whole number of seconds")
    return number


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidToken("its exp is beyond the calendar") from None


def _uuid(claims: dict[str, Any], name: str) -> UUID:
    """Of the one form that our signer writes: UUID() also takes braces, `urn:uuid:` and capitals."""
    text = claims[name]
    try:
        uuid = UUID(text)
    except (ValueError, TypeError, AttributeError):
        uuid = None
    if uuid is None or str(uuid) != text:
        raise InvalidToken(f"its {name} is not a UUID")
    return uuid
