import time
from uuid import uuid4

import jwt
import pytest
from book_runtime.tokens import InvalidToken, TokenVerifier, key_id
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rest_api.users.keys import load_private_keys, public_keys_of
from rest_api.users.signing import TokenSigner, derived_secret


def a_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


KEY = a_key()


class TestTokenSigner:
    def test_signs_what_the_verifier_takes(self) -> None:
        user, session = uuid4(), uuid4()
        began = time.time()
        token = TokenSigner(KEY).sign(user, session, 600)
        signed = time.time()
        claims = TokenVerifier(public_keys_of(KEY)).verify(token)
        assert (claims.subject, claims.session) == (user, session)
        assert began + 599 <= claims.expires.timestamp() <= signed + 600

    def test_signs_what_no_other_verifier_takes(self) -> None:
        with pytest.raises(InvalidToken, match="a key that is not known here"):
            TokenVerifier(public_keys_of(a_key())).verify(TokenSigner(KEY).sign(uuid4(), uuid4(), 60))

    def test_says_no_more_than_it_must(self) -> None:
        token = TokenSigner(KEY).sign(uuid4(), uuid4(), 60)
        kid = key_id(load_private_keys(KEY)[0].public_key())
        assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "JWT", "kid": kid}
        assert set(jwt.decode(token, options={"verify_signature": False})) == {"iss", "aud", "sub", "sid", "iat", "exp"}


class TestDerivedSecret:
    def test_is_the_same_after_a_restart(self) -> None:
        assert derived_secret(KEY, "reset") == derived_secret(KEY, "reset")

    def test_has_256_bits(self) -> None:
        assert len(bytes.fromhex(derived_secret(KEY, "reset"))) == 32

    def test_differs_by_purpose_and_by_key(self) -> None:
        secrets = {derived_secret(key, purpose) for key in (KEY, a_key()) for purpose in ("reset", "verification")}
        assert len(secrets) == 4
