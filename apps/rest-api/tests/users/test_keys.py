import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from rest_api.users.keys import KeysDoNotMatch, NoPrivateKey, make_key_pair, public_key_of


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "private.pem"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "public.pem"


class TestMakeKeyPair:
    def test_makes_a_pair(self, private: Path, public: Path) -> None:
        make_key_pair(private, public)
        assert public.read_bytes() == public_key_of(private.read_bytes())

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
        assert public.read_bytes() == public_key_of(private.read_bytes())

    def test_refuses_a_public_key_of_another_pair(self, private: Path, public: Path, tmp_path: Path) -> None:
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


class TestThePrivateKey:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(pem(KEY, NoEncryption())[:60], id="cut-off"),
            pytest.param(pem(KEY, BestAvailableEncryption(b"secret")), id="with-a-passphrase"),
            pytest.param(public_key_of(pem(KEY, NoEncryption())), id="the-public-key-by-mistake"),
        ],
    )
    def test_must_be_one(self, content: bytes) -> None:
        with pytest.raises(ValueError, match="not an Ed25519 private key"):
            public_key_of(content)

    def test_must_be_ed25519(self) -> None:
        rsa = generate_private_key(public_exponent=65537, key_size=2048)
        content = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ValueError, match="not an Ed25519 private key"):
            public_key_of(content)
