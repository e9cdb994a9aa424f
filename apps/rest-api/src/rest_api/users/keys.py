"""The keys of the access tokens: an Ed25519 private key that signs, and public ones that verify.

The first key of the private file is active: it signs. Those behind it are passive: what they have signed may still be
good. The public file has the public ones of all.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from book_runtime.errors import DocumentedError
from book_runtime.pem import blocks_of
from book_runtime.tokens import TokenVerifier
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

MAX_LIFETIME_SECONDS: Final = 86_400
"""Of all that a key signs, access tokens and links to confirm an address are good the longest."""

_OWNER_ONLY: Final = 0o600
_EVERYBODY_READS: Final = 0o644


class UnusableKeys(DocumentedError):
    """The keys that are there cannot be used."""


class NoPrivateKey(UnusableKeys):
    """{private} holds no Ed25519 private key. Put the right file there, or move this one away: a new one is made."""

    def __init__(self, private: Path) -> None:
        self.private = private


class KeysDoNotMatch(UnusableKeys):
    """{public} is not the public key of {private}: remove the one that is wrong. The public one can be made anew."""

    def __init__(self, private: Path, public: Path) -> None:
        self.private = private
        self.public = public


class RotatedLately(UnusableKeys):
    """The keys were rotated within the last 24 hours, and what the key before has signed may still be good: rotate them
    later, or with --compromised, which ends every access token and every link in a mail at once."""


def make_key_pair(private_path: Path, public_path: Path) -> None:
    """Makes sure that both files are there. What is there already stays; a public key that is missing is derived.

    Any number of processes may do this at once, and all find the same pair. Raises UnusableKeys.
    """
    if not private_path.exists():
        _put(private_path, _new_private_key(), _OWNER_ONLY)
    # Read, not remembered: another process may have been first.
    public_keys = _public_keys_in(private_path)
    _put(public_path, public_keys, _EVERYBODY_READS)
    if not set(blocks_of(public_keys)) <= set(blocks_of(public_path.read_bytes())):
        raise KeysDoNotMatch(private_path, public_path)


def rotate_keys(private_path: Path, public_path: Path, *, compromised: bool = False) -> None:
    """Puts a new key in front, which signs from the next start of a service on. The one before stays behind it for what
    it has signed, and those before that go; if it is ``compromised``, it goes as well.

    Verifiers must know a key before it signs, so the public file is written first. Raises UnusableKeys, of which
    RotatedLately while what the key before the last has signed may still be good.
    """
    make_key_pair(private_path, public_path)
    kept = [] if compromised else blocks_of(private_path.read_bytes())
    if len(kept) > 1 and time.time() < private_path.stat().st_mtime + MAX_LIFETIME_SECONDS:
        raise RotatedLately
    private_keys = b"".join([_new_private_key(), *kept[:1]])
    _replace(public_path, public_keys_of(private_keys), _EVERYBODY_READS)
    _replace(private_path, private_keys, _OWNER_ONLY)


def _public_keys_in(private_path: Path) -> bytes:
    try:
        return public_keys_of(private_path.read_bytes())
    except ValueError:
        raise NoPrivateKey(private_path) from None  # the cause could repeat what is in the file


def load_private_keys(pem: bytes) -> list[Ed25519PrivateKey]:
    """The active key first. Raises ValueError when the PEM is not made of such keys, one at least."""
    return [load_private_key(block) for block in blocks_of(pem) or [pem]]


def load_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Raises ValueError when the PEM is not an Ed25519 private key without a passphrase."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        # Not chained: the cause could repeat what is in the file.
        raise ValueError("not an Ed25519 private key in PEM form (-----BEGIN PRIVATE KEY-----)")  # noqa: TRY004 - the argument has the right type
    return key


def public_keys_of(private_keys_pem: bytes) -> bytes:
    """The PEM of the public keys, in the same order. Raises ValueError when the argument holds no private keys."""
    return b"".join(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for key in load_private_keys(private_keys_pem)
    )


def verifier_of(private_path: Path) -> TokenVerifier:
    """What verifies the tokens that are signed with the keys in a file, as they are by then."""

    def public_keys() -> bytes:
        return public_keys_of(private_path.read_bytes())

    return TokenVerifier(public_keys(), public_keys)


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _put(path: Path, content: bytes, mode: int) -> None:
    """Makes a file that is whole from the moment it can be seen. Leaves one alone that is there already."""
    if path.exists():
        return
    # A rename would replace what another process has put there meanwhile; a link does not.
    with _drafted(path, content, mode) as draft, suppress(FileExistsError):
        os.link(draft, path)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Puts a file that is whole in the place of another: a reader finds the one or the other, and never a part."""
    owner = path.stat()
    with _drafted(path, content, mode) as draft:
        with suppress(PermissionError):  # others than root own the file already
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)


@contextmanager
def _drafted(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
