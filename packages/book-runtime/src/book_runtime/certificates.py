"""The certificate of a TLS server: PEM files that somebody else renews while the server runs."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from book_runtime.errors import DocumentedError


class BadCertificate(DocumentedError, ValueError):
    """What stands in the files is of no use: {reason}."""

    def __init__(self, reason: str) -> None:
        """`reason` is a clause for people, and holds nothing of the files."""
        self.reason = reason


class Certificate(NamedTuple):
    """What a server needs for TLS, each in PEM."""

    chain: bytes
    """The server's own certificate first."""
    key: bytes
    client_authorities: bytes | None
    """Who signs the certificates of clients; None where clients need none."""

    @property
    def expires(self) -> datetime:
        """UTC."""
        return certificates_in(self.chain)[0].not_valid_after_utc


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where it stands."""

    chain: Path
    key: Path
    client_authorities: Path | None = None

    def read(self) -> Certificate:
        """What stands in the files now. Raises BadCertificate and OSError."""
        found = self._contents()
        # A renewal may come in between: of files that are read twice alike, all are of the same one.
        while (again := self._contents()) != found:
            found = again
        check_key(found.key, found.chain)
        if found.client_authorities is not None:
            certificates_in(found.client_authorities)
        return found

    def _contents(self) -> Certificate:
        authorities = None if self.client_authorities is None else self.client_authorities.read_bytes()
        return Certificate(self.chain.read_bytes(), self.key.read_bytes(), authorities)


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    """Those that stand in it, at least one. Raises BadCertificate."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise BadCertificate("there is no certificate in PEM") from None


def check_key(key: bytes, chain: bytes) -> None:
    """Raises BadCertificate when it is no private key, or not that of the first certificate."""
    try:
        public_key = load_pem_private_key(key, password=None).public_key()
    except TypeError:
        raise BadCertificate("the key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadCertificate("there is no private key in PEM") from None
    if public_key != certificates_in(chain)[0].public_key():
        raise BadCertificate("the key does not fit the certificate")
