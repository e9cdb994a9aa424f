import os
import stat
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from book_runtime import tokens
from book_runtime.tokens import InvalidToken, TokenVerifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from rest_api.cli import app as commands
from rest_api.users.keys import (
    MAX_LIFETIME_SECONDS,
    KeysDoNotMatch,
    NoPrivateKey,
    RotatedLately,
    load_private_keys,
    make_key_pair,
    public_keys_of,
    rotate_keys,
    verifier_of,
)
from rest_api.users.signing import TokenSigner
from typer.testing import CliRunner


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "private.pem"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "public.pem"


class TestMakeKeyPair:
    def test_makes_a_pair(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        assert public.read_bytes() == public_keys_of(private.read_bytes())

    def test_lets_only_the_owner_read_the_private_key(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        assert stat.S_IMODE(public.stat().st_mode) == 0o644

    def test_leaves_nothing_else_behind(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        assert [*private.parent.iterdir(), *public.parent.iterdir()] == [private, public]

    def test_keeps_the_pair_that_is_there(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        before = private.read_bytes(), public.read_bytes()
        make_key_pair(private, public)
        assert (private.read_bytes(), public.read_bytes()) == before

    def test_derives_a_public_key_that_is_missing(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        before = public.read_bytes()
        public.unlink()
        make_key_pair(private, public)
        assert public.read_bytes() == before

    def test_gives_one_pair_to_all_who_start_at_once(self, private: Path, public: Path) -> None:
        start = threading.Barrier(8)
        seen: list[tuple[bytes, bytes]] = []

        def make() -> None:
            start.wait()
            make_key_pair(private, public)
            seen.append((private.read_bytes(), public.read_bytes()))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert set(seen) == {(private.read_bytes(), public.read_bytes())}
        assert public.read_bytes() == public_keys_of(private.read_bytes())

    def test_refuses_a_public_keys_of_another_pair(self, private: Path, public: Path, tmp_path: Path) -> None:
        make_key_pair(private, public)
        make_key_pair(tmp_path / "other", tmp_path / "other.pub")
        before = (tmp_path / "other.pub").read_bytes()
        with pytest.raises(KeysDoNotMatch, match=r"other\.pub is not the public key of"):
            make_key_pair(private, tmp_path / "other.pub")
        assert (tmp_path / "other.pub").read_bytes() == before

    def test_refuses_and_keeps_a_file_that_is_no_key(self, private: Path, public: Path) -> None:
        private.parent.mkdir()
        private.write_text("a shopping list")
        with pytest.raises(NoPrivateKey, match="holds no Ed25519 private key"):
            make_key_pair(private, public)
        assert private.read_text() == "a shopping list"
        assert not public.exists()


def pem(key: Ed25519PrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


KEY = Ed25519PrivateKey.generate()


class Clock:
    """Of which a second is over when a test says so."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.time = time.time

    def monotonic(self) -> float:
        return self.now


class TestRotateKeys:
    @pytest.fixture(autouse=True)
    def a_pair(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)

    def test_puts_a_new_key_in_front_and_leaves_the_one_before(self, private: Path, public: Path) -> None:
        before = private.read_bytes()
        rotate_keys(private, public)
        assert len(load_private_keys(private.read_bytes())) == 2
        assert private.read_bytes().endswith(before)
        assert public.read_bytes() == public_keys_of(private.read_bytes())
        assert [stat.S_IMODE(path.stat().st_mode) for path in (private, public)] == [0o600, 0o644]
        assert [*private.parent.iterdir(), *public.parent.iterdir()] == [private, public]
        make_key_pair(private, public)
        assert len(load_private_keys(private.read_bytes())) == 2

    def test_signs_nobody_out_of_services_that_run(self, private: Path, public: Path, clock: Clock) -> None:
        """Neither who was signed in before, nor who is signed in by the first service that was started again."""
        rest, grpc = verifier_of(private), TokenVerifier(public.read_bytes(), public.read_bytes)
        old = TokenSigner(private.read_bytes()).sign(uuid4(), uuid4(), 600)
        rotate_keys(private, public)
        new = TokenSigner(private.read_bytes()).sign(uuid4(), uuid4(), 600)
        clock.now += 2
        for verifier in (rest, grpc, verifier_of(private)):
            assert verifier.verify(old) != verifier.verify(new)

    def test_keeps_one_key_of_before(self, private: Path, public: Path) -> None:
        rotate_keys(private, public)
        second, first = load_private_keys(private.read_bytes())
        long_ago = time.time() - MAX_LIFETIME_SECONDS - 1
        os.utime(private, (long_ago, long_ago))
        rotate_keys(private, public)
        third, kept = load_private_keys(private.read_bytes())
        assert kept.private_bytes_raw() == second.private_bytes_raw()
        assert third.private_bytes_raw() != first.private_bytes_raw()

    def test_waits_until_nothing_is_good_that_would_be_lost(self, private: Path, public: Path) -> None:
        rotate_keys(private, public)
        before = private.read_bytes(), public.read_bytes()
        with pytest.raises(RotatedLately, match="24 hours"):
            rotate_keys(private, public)
        assert (private.read_bytes(), public.read_bytes()) == before

    def test_keeps_none_that_is_compromised(self, private: Path, public: Path) -> None:
        old = TokenSigner(private.read_bytes()).sign(uuid4(), uuid4(), 600)
        rotate_keys(private, public)
        rotate_keys(private, public, compromised=True)
        assert len(load_private_keys(private.read_bytes())) == 1
        with pytest.raises(InvalidToken, match="a key that is not known here"):
            verifier_of(private).verify(old)

    def test_is_a_command(self, private: Path, public: Path) -> None:
        environment = {"JWT_PRIVATE_KEY_FILE": str(private), "JWT_PUBLIC_KEY_FILE": str(public)}
        done = CliRunner().invoke(commands, ["rotate-keys"], env=environment)
        assert (done.exit_code, done.stdout) == (
            0,
            "rest-api: there is a new key; REST signs with it when it is started again\n",
        )
        assert len(load_private_keys(private.read_bytes())) == 2
        again = CliRunner().invoke(commands, ["rotate-keys"], env=environment)
        assert again.exit_code == 2
        assert "--compromised" in again.stderr

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = Clock()
        monkeypatch.setattr(tokens, "time", clock)
        return clock


class TestThePrivateKey:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(pem(KEY, NoEncryption())[:60], id="cut-off"),
            pytest.param(pem(KEY, BestAvailableEncryption(b"secret")), id="with-a-passphrase"),
            pytest.param(public_keys_of(pem(KEY, NoEncryption())), id="the-public-key-by-mistake"),
        ],
    )
    def test_must_be_one(self, content: bytes) -> None:
        with pytest.raises(ValueError, match="not an Ed25519 private key"):
            public_keys_of(content)

    def test_must_be_ed25519(self) -> None:
        rsa = generate_private_key(public_exponent=65537, key_size=2048)
        content = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ValueError, match="not an Ed25519 private key"):
            public_keys_of(content)
