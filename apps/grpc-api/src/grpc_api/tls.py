"""TLS from files that are renewed while the service runs."""

from threading import Lock
from typing import Final

import grpc
import structlog
from book_runtime.certificates import BadCertificate, Certificate, CertificateFiles
from book_runtime.outage import Outage, Reason
from prometheus_client import Gauge

_log = structlog.get_logger(__name__)

_EXPIRES: Final = Gauge(
    "colophon_grpc_certificate_expires_timestamp_seconds", "When the certificate in use expires", ["file"]
)


class Tls:
    """The certificate that new connections get: that of the files, or the last that was good.

    The files are looked at whenever a client connects and when metrics are asked for. Connections that there are
    already keep the certificate that they began with.
    """

    def __init__(self, files: CertificateFiles) -> None:
        """Raises BadCertificate and OSError."""
        self._files = files
        self._in_use = files.read()
        self._outage = Outage(_log, "the certificate's files", "the one before stays in use")
        # gRPC asks in threads of its own.
        self._looking = Lock()
        _EXPIRES.labels(str(files.chain)).set_function(self._expires)

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is opened with. Clients must show a certificate where there is an authority for them."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._in_use),
            self._renewed,
            require_client_authentication=self._files.client_authorities is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration:
        self._look()
        return _configuration(self._in_use)

    def _expires(self) -> float:
        self._look()
        return self._in_use.expires.timestamp()

    def _look(self) -> None:
        with self._looking:
            try:
                found = self._files.read()
            except (BadCertificate, OSError) as error:
                # Each cause is logged: an operator who corrects several faults sees what is left.
                self._outage.begin(Reason(str(error), str(error)))
                return
            self._outage.end()
            if found != self._in_use:
                self._in_use = found
                _log.info("took a new certificate", expires=found.expires.isoformat())


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key, certificate.chain)], certificate.client_authorities
    )
