"""What grpc-api is told by its environment."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from book_db.settings import StoreSettings
from book_runtime.certificates import BadCertificate, CertificateFiles, certificates_in, check_key
from book_runtime.logs import LogSettings
from book_runtime.settings import AmqpUrl, ExistingFile, Port, Settings
from book_runtime.tokens import TokenVerifier
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from grpc_api.limits import Limits
from grpc_api.tls import Tls


def _holds_a_public_key(path: Path) -> Path:
    TokenVerifier(path.read_bytes())
    return path


def _holds_certificates(path: Path) -> Path:
    try:
        certificates_in(path.read_bytes())
    except BadCertificate as error:
        raise ValueError(error.reason) from None
    return path


_CertificateFile: TypeAlias = Annotated[ExistingFile, AfterValidator(_holds_certificates)]


class AddressSettings(Settings):
    """Where the service listens."""

    grpc_host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 takes calls from everywhere."""

    grpc_port: Port = 50051
    """The TCP port to listen on."""


class CallSettings(AddressSettings):
    """How calls are taken, be it in a process of their own or in `colophon run`."""

    grpc_health_port: Port | None = None
    """The TCP port where health alone is told, without TLS, for probes that speak none."""

    grpc_tls_cert_file: _CertificateFile | None = None
    """The PEM file of the certificate, with those that lead to its authority behind it; without it there is no TLS."""

    grpc_tls_key_file: ExistingFile | None = None
    """The PEM file of the certificate's private key."""

    grpc_tls_client_ca_file: _CertificateFile | None = None
    """The PEM file of the authorities that sign clients' certificates; with it, clients must have one."""

    grpc_auth: Literal["on", "off"] = "on"
    """Whether calls need an access token; off is for networks where every caller may read."""

    max_calls: Annotated[int, Field(ge=1)] = 1_000
    """How many calls may be in hand at a time in one process, those of WatchBooks apart."""

    max_connection_seconds: Annotated[int, Field(ge=0)] = 0
    """How old a connection gets before its client is told to make a new one; 0 lets it live."""

    max_watchers: Annotated[int, Field(ge=0)] = 2_000
    """How many calls of WatchBooks may be open at a time in one process; of one user, half of them."""

    event_log_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """For how many days events are kept in the log; without it all are kept."""

    notice_seconds: Annotated[float, Field(ge=0, le=300)] = 0.5
    """How long the gRPC service goes on taking calls after its health has said NOT_SERVING, when it is told to stop."""

    drain_seconds: Annotated[int, Field(ge=0)] = 10
    """How long requests and calls that are running may take to finish when the service is told to stop."""

    @field_validator("grpc_tls_key_file")
    @classmethod
    def _fits_the_certificate(cls, key: Path | None, known: ValidationInfo) -> Path | None:
        # What is wrong by itself is not among what is known, and is told already.
        if "grpc_tls_cert_file" not in known.data:
            return key
        certificate: Path | None = known.data["grpc_tls_cert_file"]
        if (key is None) != (certificate is None):
            raise ValueError("GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE must be set together")
        if key is not None and certificate is not None:
            try:
                check_key(key.read_bytes(), certificate.read_bytes())
            except BadCertificate as error:
                raise ValueError(error.reason) from None
        return key

    @field_validator("grpc_tls_client_ca_file")
    @classmethod
    def _stands_beside_a_certificate(cls, authorities: Path | None, known: ValidationInfo) -> Path | None:
        if authorities is not None and known.data.get("grpc_tls_cert_file", authorities) is None:
            raise ValueError("it is of no use without GRPC_TLS_CERT_FILE")
        return authorities

    @property
    def limits(self) -> Limits:
        return Limits(calls=self.max_calls, connection_seconds=self.max_connection_seconds)

    def tls(self) -> Tls | None:
        """None for plain connections. Raises BadCertificate and OSError when the files have changed since."""
        if self.grpc_tls_cert_file is None or self.grpc_tls_key_file is None:
            return None
        files = CertificateFiles(self.grpc_tls_cert_file, self.grpc_tls_key_file, self.grpc_tls_client_ca_file)
        return Tls(files)


class GrpcSettings(CallSettings, StoreSettings, LogSettings):
    """The gRPC service and the log of events."""

    amqp_url: AmqpUrl
    """The RabbitMQ broker that events come from."""

    jwt_public_key_file: Annotated[ExistingFile, AfterValidator(_holds_a_public_key)]
    """The PEM file of the key that access tokens are verified with; `rest-api setup` makes one."""

    metrics_port: Port | None = None
    """The TCP port for Prometheus; without it no metrics are served."""

    grpc_share_port: bool = False
    """Whether other processes of this service may listen on the same port; Linux divides the connections among them."""
