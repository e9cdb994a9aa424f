import base64
import dataclasses
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from book_runtime import tokens
from book_runtime.tokens import Claims, InvalidToken, TokenVerifier
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

KEY = Ed25519PrivateKey.generate()
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
VERIFIER = TokenVerifier(PUBLIC_PEM)

SUBJECT = uuid.UUID("018f0e9a-0000-7000-8000-000000000001")
SESSION = uuid.UUID("018f0e9a-0000-7000-8000-000000000002")


def claims(**changed: Any) -> dict[str, Any]:
    """Those of a good token, with the changes; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": "colophon",
        "aud": "colophon",
        "sub": str(SUBJECT),
        "sid": str(SESSION),
        "iat": now,
        "exp": now + 3_600,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(payload: object, header: dict[str, Any] | None = None, key: Ed25519PrivateKey = KEY) -> str:
    """Signed by hand, because PyJWT would refuse to sign some of what is tried here."""
    signing_input = f"{part(header or {'alg': 'EdDSA', 'typ': 'JWT'})}.{part(payload)}"
    return f"{signing_input}.{text_of(key.sign(signing_input.encode()))}"


def part(thing: object) -> str:
    return text_of(thing if isinstance(thing, bytes) else json.dumps(thing).encode())


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(alg: str) -> str:
    return f"{part({'alg': alg, 'typ': 'JWT'})}.{part(claims())}."


def signed_with_the_public_key_as_secret() -> str:
    signing_input = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    return f"{signing_input}.{text_of(hmac.digest(PUBLIC_PEM, signing_input.encode(), hashlib.sha256))}"


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return generate_rsa_key(public_exponent=65537, key_size=2048)


class TestAGoodToken:
    def test_gives_its_claims(self) -> None:
        expires = int(time.time()) + 3_600
        assert VERIFIER.verify(signed(claims(exp=expires))) == Claims(
            subject=SUBJECT, session=SESSION, expires=datetime.fromtimestamp(expires, UTC)
        )

    def test_is_what_pyjwt_signs(self) -> None:
        assert VERIFIER.verify(jwt.encode(claims(), KEY, algorithm="EdDSA")).subject == SUBJECT

    def test_gives_claims_that_cannot_be_changed(self) -> None:
        read = VERIFIER.verify(signed(claims()))
        with pytest.raises(dataclasses.FrozenInstanceError):
            read.subject = SESSION  # type: ignore[misc]  # that it is refused is the point

    def test_may_come_from_a_clock_that_is_a_little_ahead(self) -> None:
        assert VERIFIER.verify(signed(claims(iat=int(time.time()) + tokens.CLOCK_SKEW - 1))).subject == SUBJECT

    def test_may_say_more_than_must_be_said(self) -> None:
        assert VERIFIER.verify(signed(claims(name="Ada", jti="1"))).subject == SUBJECT


class TestTheKey:
    def another(self) -> tuple[Ed25519PrivateKey, bytes]:
        key = Ed25519PrivateKey.generate()
        return key, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def named(self, key: Ed25519PrivateKey) -> dict[str, Any]:
        return {"alg": "EdDSA", "typ": "JWT", "kid": tokens.key_id(key.public_key())}

    def test_has_the_name_that_rfc_8037_gives_it(self) -> None:
        x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        assert tokens.key_id(Ed25519PublicKey.from_public_bytes(x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

    def test_is_the_one_that_the_token_names_or_any_of_several(self) -> None:
        other, other_pem = self.another()
        for pem in (PUBLIC_PEM + other_pem, other_pem + b"# the one before\n" + PUBLIC_PEM):
            verifier = TokenVerifier(pem)
            for key in (KEY, other):
                assert verifier.verify(signed(claims(), self.named(key), key)).subject == SUBJECT
                assert verifier.verify(signed(claims(), key=key)).subject == SUBJECT

    def test_that_is_named_must_have_signed(self) -> None:
        other, other_pem = self.another()
        with pytest.raises(InvalidToken, match="signature"):
            TokenVerifier(PUBLIC_PEM + other_pem).verify(signed(claims(), self.named(KEY), other))

    def test_of_a_stranger_is_refused_without_a_name_too(self) -> None:
        _, other_pem = self.another()
        stranger, _ = self.another()
        with pytest.raises(InvalidToken, match="signature"):
            TokenVerifier(PUBLIC_PEM + other_pem).verify(signed(claims(), key=stranger))

    @pytest.mark.parametrize("name", [1, ["a"], {}, True], ids=repr)
    def test_has_a_name_that_is_text(self, name: object) -> None:
        with pytest.raises(InvalidToken, match="malformed"):
            VERIFIER.verify(signed(claims(), {"alg": "EdDSA", "kid": name}))

    def test_that_is_not_known_is_looked_for_once_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(now=0.0, time=time.time)
        clock.monotonic = lambda: clock.now
        monkeypatch.setattr(tokens, "time", clock)
        other, other_pem = self.another()
        kept, looks = [PUBLIC_PEM], []

        def read() -> bytes:
            looks.append(clock.now)
            return b"".join(kept)

        verifier = TokenVerifier(PUBLIC_PEM, read)
        token = signed(claims(), self.named(other), other)
        for clock.now in (0.5, 1.0, 1.5):
            with pytest.raises(InvalidToken, match="a key that is not known here"):
                verifier.verify(token)
        kept.append(other_pem)
        clock.now = 2.0
        assert verifier.verify(token).subject == SUBJECT
        assert looks == [1.0, 2.0]

    @pytest.mark.parametrize("fault", [OSError("away"), ValueError("broken")], ids=["away", "broken"])
    def test_stays_known_while_the_file_is_no_good(self, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "_RELOAD_SECONDS", 0.0)

        def read() -> bytes:
            raise fault

        other, _ = self.another()
        verifier = TokenVerifier(PUBLIC_PEM, read)
        with pytest.raises(InvalidToken, match="a key that is not known here"):
            verifier.verify(signed(claims(), self.named(other), other))
        assert verifier.verify(signed(claims(), self.named(KEY))).subject == SUBJECT


class TestTheSignature:
    @pytest.mark.parametrize(
        "token",
        [
            pytest.param(unsigned("none"), id="none"),
            pytest.param(unsigned("None"), id="none-in-capitals"),
            pytest.param(unsigned(""), id="empty-algorithm"),
            pytest.param(signed_with_the_public_key_as_secret(), id="hs256-with-the-public-key-as-secret"),
            pytest.param(signed(claims(), {"alg": "Ed25519"}), id="another-name-for-it"),
            pytest.param(signed(claims(), {"alg": "eddsa"}), id="small-letters"),
            pytest.param(signed(claims(), {"alg": ["EdDSA"]}), id="a-list"),
            pytest.param(signed(claims(), {"typ": "JWT"}), id="no-algorithm"),
        ],
    )
    def test_is_by_eddsa_and_nothing_else(self, token: str) -> None:
        with pytest.raises(InvalidToken) as refused:
            VERIFIER.verify(token)
        assert refused.value.reason == "it is not signed with EdDSA"

    def test_is_not_by_rsa(self, rsa_key: RSAPrivateKey) -> None:
        with pytest.raises(InvalidToken, match="not signed with EdDSA"):
            VERIFIER.verify(jwt.encode(claims(), rsa_key, algorithm="RS256"))

    def test_is_by_our_key(self) -> None:
        with pytest.raises(InvalidToken, match="signature"):
            VERIFIER.verify(signed(claims(), key=Ed25519PrivateKey.generate()))

    def test_is_not_by_a_key_that_the_token_brings_along(self) -> None:
        own = Ed25519PrivateKey.generate()
        x = text_of(own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        header = {"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}, "jku": "https://example.com"}
        with pytest.raises(InvalidToken, match="signature"):
            VERIFIER.verify(signed(claims(), header, key=own))

    def test_covers_every_character(self) -> None:
        token = signed(claims())
        for position in range(0, len(token), 7):
            other = "A" if token[position] != "A" else "B"
            with pytest.raises(InvalidToken):
                VERIFIER.verify(token[:position] + other + token[position + 1 :])

    def test_cannot_be_moved_to_other_claims(self) -> None:
        header, _, signature = signed(claims()).split(".")
        with pytest.raises(InvalidToken, match="signature"):
            VERIFIER.verify(f"{header}.{part(claims(sub=str(SESSION)))}.{signature}")


NOW = int(time.time())
IN_A_DAY = NOW + 86_400  # long after the run in which this is collected

A_LATER_CHECK = [
    pytest.param({"exp": NOW - 1}, "it has expired", id="expired-a-second-ago"),
    pytest.param({"exp": 0}, "it has expired", id="expired-in-1970"),
    pytest.param({"exp": -(10**30)}, "it has expired", id="expired-before-the-world"),
    pytest.param({"iat": IN_A_DAY}, "it is not valid yet", id="issued-tomorrow"),
    pytest.param({"nbf": IN_A_DAY}, "it is not valid yet", id="valid-tomorrow"),
    pytest.param({"aud": "elsewhere"}, "it is for somebody else (aud)", id="other-audience"),
    pytest.param({"aud": ["colophon"]}, "it is for somebody else (aud)", id="audience-in-a-list"),
    pytest.param({"aud": "fastapi-users:reset"}, "it is for somebody else (aud)", id="a-reset-token"),
    pytest.param({"iss": "elsewhere"}, "it is from somebody else (iss)", id="other-issuer"),
    pytest.param({"iss": ["colophon"]}, "it is from somebody else (iss)", id="issuer-in-a-list"),
    pytest.param({"sub": "7"}, "its sub is not a UUID", id="subject-is-a-number"),
    pytest.param({"sub": ""}, "its sub is not a UUID", id="subject-is-empty"),
    pytest.param({"sub": f"urn:uuid:{SUBJECT}"}, "its sub is not a UUID", id="subject-as-urn"),
    pytest.param({"sub": SUBJECT.hex}, "its sub is not a UUID", id="subject-without-hyphens"),
    pytest.param({"sub": str(SUBJECT).upper()}, "its sub is not a UUID", id="subject-in-capitals"),
    pytest.param({"sid": "session"}, "its sid is not a UUID", id="session-is-a-word"),
    pytest.param({"sid": 7}, "its sid is not a UUID", id="session-is-a-number"),
    pytest.param({"sid": [str(SESSION)]}, "its sid is not a UUID", id="session-in-a-list"),
    pytest.param({"exp": IN_A_DAY + 0.5}, "its exp is not a whole number of seconds", id="expires-between-seconds"),
    pytest.param({"exp": str(IN_A_DAY)}, "its exp is not a whole number of seconds", id="expires-as-text"),
    pytest.param({"exp": 10**30}, "its exp is beyond the calendar", id="expires-never"),
    pytest.param({"exp": True}, "it has expired", id="expires-is-bool"),
    pytest.param({"exp": float("inf")}, "it is malformed", id="expires-is-infinite"),
    pytest.param({"iat": "now"}, "its iat is not a whole number of seconds", id="issued-is-text"),
    pytest.param({"iat": True}, "its iat is not a whole number of seconds", id="issued-is-bool"),
]


class TestTheClaims:
    @pytest.mark.parametrize(("changed", "reason"), A_LATER_CHECK)
    def test_are_checked_one_by_one(self, changed: dict[str, Any], reason: str) -> None:
        with pytest.raises(InvalidToken) as refused:
            VERIFIER.verify(signed(claims(**changed)))
        assert refused.value.reason == reason
        assert str(refused.value) == f"The access token is refused: {reason}."

    @pytest.mark.parametrize("name", tokens.REQUIRED_CLAIMS)
    @pytest.mark.parametrize(
        "leave_out",
        [
            pytest.param(lambda name: claims(**{name: None}), id="absent"),
            pytest.param(lambda name: claims() | {name: None}, id="null"),
        ],
    )
    def test_are_all_required(self, name: str, leave_out: Callable[[str], dict[str, Any]]) -> None:
        with pytest.raises(InvalidToken) as refused:
            VERIFIER.verify(signed(leave_out(name)))
        assert refused.value.reason == "a claim is missing"

    def test_expire_at_the_second_and_not_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InvalidToken, match="expired"):
            VERIFIER.verify(signed(claims(exp=int(time.time()))))


class TestGarbage:
    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("", id="empty"),
            pytest.param(".", id="one-dot"),
            pytest.param("..", id="two-dots"),
            pytest.param("a.b.c", id="no-base64"),
            pytest.param("Bearer " + signed(claims()), id="with-its-scheme"),
            pytest.param(signed(claims()) + "\n", id="with-a-line-end"),
            pytest.param(signed(claims()) + "=", id="padded"),
            pytest.param(signed(claims()) + ".more", id="four-parts"),
            pytest.param(signed(claims()).replace(".", "é."), id="not-ascii"),
            pytest.param(signed(claims()) + "\ud800", id="lone-surrogate"),
            pytest.param(signed(claims()) + "\0", id="nul"),
            pytest.param(signed([1]), id="claims-are-a-list"),
            pytest.param(signed(b"{"), id="claims-are-broken-json"),
            pytest.param(signed(b"[" * 2000), id="claims-are-deep"),
            pytest.param(signed(b"\xff\xfe"), id="claims-are-not-utf8"),
            pytest.param(signed(claims(), {"alg": "EdDSA", "crit": ["exp"]}), id="unknown-critical-header"),
            pytest.param(signed(claims(), {"alg": "EdDSA", "b64": False, "crit": ["b64"]}), id="detached-payload"),
        ],
    )
    def test_is_refused_as_malformed(self, token: str) -> None:
        with pytest.raises(InvalidToken) as refused:
            VERIFIER.verify(token)
        assert refused.value.reason in ("it is malformed", "its signature does not fit")

    def test_that_is_long_is_refused_before_it_is_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        token = signed(claims(padding="x" * tokens.MAX_LENGTH))
        monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("it was parsed"))
        with pytest.raises(InvalidToken, match="malformed"):
            VERIFIER.verify(token)

    @given(st.text(max_size=300) | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
    def test_is_never_anything_but_an_invalid_token(self, token: str) -> None:
        with pytest.raises(InvalidToken):
            VERIFIER.verify(token)

    @given(
        st.dictionaries(
            st.sampled_from([*tokens.REQUIRED_CLAIMS, "nbf", "jti"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=5,
            ),
            min_size=1,
        )
    )
    def test_that_we_have_signed_is_read_or_refused(self, changed: dict[str, Any]) -> None:
        try:
            read = VERIFIER.verify(signed(claims() | changed))
        except InvalidToken:
            return
        assert (read.subject, read.session) == (SUBJECT, SESSION)

    def test_is_not_repeated_in_the_error(self) -> None:
        for token in (signed(claims(aud="secret-audience")), "secret-audience", unsigned("secret-audience")):
            with pytest.raises(InvalidToken) as refused:
                VERIFIER.verify(token)
            assert token not in str(refused.value)
            assert "secret" not in str(refused.value)
            assert refused.value.__cause__ is None
            assert refused.value.__suppress_context__


def pem_of(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


class TestThePublicKey:
    @pytest.mark.parametrize(
        "pem",
        [
            pytest.param(b"", id="empty-file"),
            pytest.param(b"not a key", id="no-pem"),
            pytest.param(PUBLIC_PEM[:60], id="cut-off"),
            pytest.param(
                KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), id="the-private-key-by-mistake"
            ),
            pytest.param(pem_of(Ed448PrivateKey.generate()), id="ed448"),
            pytest.param(pem_of(generate_ec_key(SECP256R1())), id="elliptic-curve"),
        ],
    )
    def test_must_be_ed25519(self, pem: bytes) -> None:
        with pytest.raises(ValueError, match="not an Ed25519 public key") as refused:
            TokenVerifier(pem)
        assert "PRIVATE" not in str(refused.value)

    def test_must_not_be_rsa(self, rsa_key: RSAPrivateKey) -> None:
        with pytest.raises(ValueError, match="not an Ed25519 public key"):
            TokenVerifier(pem_of(rsa_key))
