"""Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037). Who has only the public key can verify."""

import base64
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from book_runtime.errors import DocumentedError
from book_runtime.pem import blocks_of

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


class InvalidToken(DocumentedError):
    """The access token is refused: {reason}."""

    def __init__(self, reason: str) -> None:
        """`reason` is a clause for people, and holds nothing of the token."""
        self.reason = reason


_REASONS: Final[dict[type[jwt.PyJWTError], str]] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for somebody else (aud)",
    jwt.InvalidIssuerError: "it is from somebody else (iss)",
    jwt.MissingRequiredClaimError: "a claim is missing",
    jwt.InvalidAlgorithmError: f"it is not signed with {ALGORITHM}",
    jwt.InvalidSignatureError: "its signature does not fit",
}


_RELOAD_SECONDS: Final = 1.0
"""A token with a key that nobody knows costs no more than that."""


class TokenVerifier:
    """Tells a good token from every other."""

    def __init__(self, public_keys_pem: bytes, reread: Callable[[], bytes] | None = None) -> None:
        """With the public keys of all who sign, and of those who have signed what may still be good.

        ``reread`` gives them as they are by now, and is called when a token names a key that is not among them: keys
        are rotated while services run.

        Raises ValueError when the PEM is not made of Ed25519 public keys, one at least.
        """
        self._keys = _keys_by_id(public_keys_pem)
        self._reread = reread
        self._read_at = time.monotonic()

    def verify(self, token: str) -> Claims:
        """What the token says; raises InvalidToken when it is not ours, not valid now or not complete."""
        if len(token) > MAX_LENGTH or not token.isascii():
            raise InvalidToken("it is malformed")
        key_id = _key_id_of(token)
        if key_id is None:  # of the release before, which knew of one key
            return self._verify_without_id(token)
        if key_id not in self._keys:
            self._look_again()
        if key_id not in self._keys:
            raise InvalidToken("it is signed with a key that is not known here")
        return _read_claims(_decode(token, self._keys[key_id]))

    def _verify_without_id(self, token: str) -> Claims:
        *others, last = self._keys.values()
        for key in others:
            try:
                return _read_claims(_decode(token, key))
            except _WrongKey:
                continue
        return _read_claims(_decode(token, last))

    def _look_again(self) -> None:
        now = time.monotonic()
        if self._reread is None or now < self._read_at + _RELOAD_SECONDS:
            return
        self._read_at = now
        # A file that is away or broken just now leaves what is known.
        with suppress(OSError, ValueError):
            self._keys = _keys_by_id(self._reread())


class _WrongKey(InvalidToken):
    """The access token is refused: {reason}."""


def _decode(token: str, key: Ed25519PublicKey) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # PyJWT's leeway would let a token live on after `exp`, so `iat` is compared below.
            options={"require": list(REQUIRED_CLAIMS), "strict_aud": True, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        kind = _WrongKey if isinstance(error, jwt.InvalidSignatureError) else InvalidToken
        # Not `from error`: its text may quote the token, and chained errors end in logs.
        raise kind(_REASONS.get(type(error), "it is malformed")) from None


def _key_id_of(token: str) -> str | None:
    """What the token says of its key, which proves nothing yet."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        raise InvalidToken("it is malformed") from None
    if key_id is not None and not isinstance(key_id, str):
        raise InvalidToken("it is malformed")
    return key_id


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a public key: its JWK thumbprint (RFC 7638, RFC 8037, A.3)."""
    x = base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()
    return base64.urlsafe_b64encode(sha256(canonical).digest()).rstrip(b"=").decode()


def _keys_by_id(pem: bytes) -> dict[str, Ed25519PublicKey]:
    keys = [_load_public_key(block) for block in blocks_of(pem) or [pem]]
    return {key_id(key): key for key in keys}


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
