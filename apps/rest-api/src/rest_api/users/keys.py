"""The key pair of the access tokens: an Ed25519 private key that signs, and the public one that verifies."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_OWNER_ONLY: Final = 0o600
_EVERYBODY_READS: Final = 0o644


class UnusableKeys(Exception):
    """The keys that are there cannot be used."""


class NoPrivateKey(UnusableKeys):
    """{private} holds no Ed25519 private key. Put the right file there, or move this one away: a new one is made."""

    def __init__(self, private: Path) -> None:
        super().__init__((NoPrivateKey.__doc__ or "").format(private=private))


class KeysDoNotMatch(UnusableKeys):
    """{public} is not the public key of {private}: remove the one that is wrong. The public one can be made anew."""

    def __init__(self, private: Path, public: Path) -> None:
        super().__init__((KeysDoNotMatch.__doc__ or "").format(private=private, public=public))


def make_key_pair(private_path: Path, public_path: Path) -> None:
    """Sees to it that both files are there. What is there already stays; a public key that is missing is derived.

    Any number of processes may do this at once, and all find the same pair. Raises UnusableKeys.
    """
    if not private_path.exists():
        _put(private_path, _new_private_key(), _OWNER_ONLY)
    # Read, not remembered: another process may have been first.
    try:
        public_key = public_key_of(private_path.read_bytes())
    except ValueError:
        raise NoPrivateKey(private_path) from None  # the cause could repeat what is in the file
    _put(public_path, public_key, _EVERYBODY_READS)
    if public_path.read_bytes().strip() != public_key.strip():
        raise KeysDoNotMatch(private_path, public_path)


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


def public_key_of(private_key_pem: bytes) -> bytes:
    """The PEM of the public key. Raises ValueError when the argument is not an Ed25519 private key."""
    public_key = load_private_key(private_key_pem).public_key()
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _put(path: Path, content: bytes, mode: int) -> None:
    """Makes a file that is whole from the moment it can be seen. Leaves one alone that is there already."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        # A rename would replace what another process has put there meanwhile; a link does not.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
