"""What only the holder of the private key can do: sign access tokens, and derive secrets that need no setting."""

import time
from uuid import UUID

import jwt
from book_runtime.tokens import ALGORITHM, AUDIENCE, ISSUER
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rest_api.users.keys import load_private_key


class TokenSigner:
    """Signs access tokens that book_runtime.tokens.TokenVerifier takes."""

    def __init__(self, private_key_pem: bytes) -> None:
        """Raises ValueError when the PEM is not an Ed25519 private key."""
        self._key = load_private_key(private_key_pem)

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
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)


def derived_secret(private_key_pem: bytes, purpose: str) -> str:
    """A secret of 256 bits for one purpose, always the same for the same key (HKDF, RFC 5869)."""
    kdf = HKDF(SHA256(), length=32, salt=None, info=f"colophon {purpose}".encode())
    return kdf.derive(load_private_key(private_key_pem).private_bytes_raw()).hex()
