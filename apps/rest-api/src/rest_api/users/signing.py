"""What only the holder of the private key can do: sign access tokens, and derive secrets that need no setting."""

import time
from uuid import UUID

import jwt
from book_runtime.tokens import ALGORITHM, AUDIENCE, ISSUER, key_id
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rest_api.users.keys import load_private_keys


class TokenSigner:
    """Signs access tokens that book_runtime.tokens.TokenVerifier takes."""

    def __init__(self, private_keys_pem: bytes) -> None:
        """The first of the keys signs. Raises ValueError when the PEM is not made of Ed25519 private keys."""
        self._key, *_ = load_private_keys(private_keys_pem)
        self._headers = {"kid": key_id(self._key.public_key())}

    def sign(self, subject: UUID, session: UUID, lifetime_seconds: int) -> str:
        """A token for this user in this session, good from now on for so many seconds."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(subject),
            "sid": str(session),
            "iat": now,
            "exp": now + lifetime_seconds,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=self._headers)


def derived_secret(private_keys_pem: bytes, purpose: str) -> str:
    """A secret of 256 bits for one purpose, always the same for the same active key (HKDF, RFC 5869)."""
    return derived_secrets(private_keys_pem, purpose)[0]


def derived_secrets(private_keys_pem: bytes, purpose: str) -> list[str]:
    """The same of each key, that of the active one first."""
    return [
        HKDF(SHA256(), length=32, salt=None, info=f"colophon {purpose}".encode()).derive(key.private_bytes_raw()).hex()
        for key in load_private_keys(private_keys_pem)
    ]
