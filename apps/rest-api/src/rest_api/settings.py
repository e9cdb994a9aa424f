"""What the REST service and its relay are told by their environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from book_db.settings import DatabaseSettings, StoreSettings
from book_runtime.logs import LogSettings
from book_runtime.settings import AmqpUrl, ExistingFile, Port, PostgresUrl, Settings, Url
from pydantic import AfterValidator, Field

from rest_api.client_address import Networks
from rest_api.cross_origin import Origins
from rest_api.rate_limits import LimitSettings
from rest_api.users.keys import load_private_key
from rest_api.users.mail import SmtpServer, mailbox


def _holds_a_private_key(path: Path) -> Path:
    load_private_key(path.read_bytes())
    return path


class ProcessSettings(LogSettings):
    """What is seen of a process from outside."""

    metrics_port: Port | None = None
    """The TCP port for Prometheus; without it no metrics are served."""


class SmtpUrl(Url):
    """A mail server; with `?starttls=1` the connection is encrypted after it is made."""

    schemes = ("smtp", "smtps")
    example = "smtp://user:password@mail.example.org:587?starttls=1"

    @classmethod
    def _faults(cls, text: str) -> Iterator[str]:
        yield from super()._faults(text)
        try:
            SmtpServer.parse(text)
        except ValueError as error:
            yield str(error)


def _checked_sender(text: str) -> str:
    mailbox(text)
    return text


class PublicUrl(Url):
    """The address under which people reach this service."""

    schemes = ("http", "https")
    example = "https://books.example.org"


class RestSettings(StoreSettings, LimitSettings, ProcessSettings):
    """The REST service."""

    jwt_private_key_file: Annotated[ExistingFile, AfterValidator(_holds_a_private_key)]
    """The PEM file of the key that signs access tokens; `rest-api setup` makes one."""

    rest_host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 takes calls from everywhere."""

    rest_port: Port = 8000
    """The TCP port to listen on."""

    access_token_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3_600
    """How long an access token is good."""

    max_body_bytes: Annotated[int, Field(ge=1_024)] = 8 * 2**20
    """The longest request body that is read."""

    trusted_proxies: Networks = ""
    """The proxies in front of this service, whose word for the address of a client is taken; without any, no one's."""

    cors_origins: Origins = ""
    """The other sites whose pages may call this service; without any, none may."""

    header_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """How long a client may take to send the headers of a request, and pause while it sends the body."""

    drain_seconds: Annotated[int, Field(ge=0)] = 10
    """How long requests that are running may take to finish when the service is told to stop."""

    access_log: bool = False
    """Whether each request is logged."""

    public_url: PublicUrl = PublicUrl("http://127.0.0.1:8000")
    """Where people reach this service: what links in mails begin with."""

    smtp_url: SmtpUrl | None = None
    """The mail server; without one the links go to the log."""

    mail_from: Annotated[str, AfterValidator(_checked_sender)] = "colophon@localhost"
    """The sender of mails."""


class RelaySettings(DatabaseSettings, ProcessSettings):
    """The relay."""

    amqp_url: AmqpUrl
    """The RabbitMQ broker that events are published to."""


class SetupSettings(Settings):
    """What is made before the services start."""

    database_url: PostgresUrl
    """The catalogue's database."""

    jwt_private_key_file: Path = Field(examples=["/run/keys/private/jwt.pem"])
    """Where the key that signs access tokens is to be. Only the REST service may read it."""

    jwt_public_key_file: Path = Field(examples=["/run/keys/public/jwt.pem"])
    """Where the key that verifies access tokens is to be."""
