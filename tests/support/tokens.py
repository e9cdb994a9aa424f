"""Access tokens for tests that do not start rest-api, which alone can sign in the real system."""

import time
from dataclasses import dataclass
from uuid import UUID

import jwt
from book_runtime.tokens import ALGORITHM, AUDIENCE, ISSUER
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Signer:
    """A key pair of one's own."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, user_id: UUID, session_id: UUID, *, seconds: int = 600) -> str:
        """A token that is good for so many seconds, or was until so many seconds ago."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "sid": str(session_id)}
        return jwt.encode(claims | {"iat": now - 3_600, "exp": now + seconds}, self._key, algorithm=ALGORITHM)


@dataclass(frozen=True)
class SignedIn:
    """Somebody with an account, a session and a token."""

    user_id: UUID
    session_id: UUID
    token: str

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """For a gRPC call."""
        return [("authorization", f"Bearer {self.token}")]
