"""What the REST service is told by its environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from book_db.settings import StoreSettings
from book_runtime.settings import ExistingFile, Port, Url
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from rest_api.client_address import Networks
from rest_api.cross_origin import Origins
from rest_api.process_settings import ProcessSettings
from rest_api.rate_limits import LimitSettings
from rest_api.users.keys import load_private_keys
from rest_api.users.mail import SmtpServer, mailbox


def _holds_a_private_key(path: Path) -> Path:
    load_private_keys(path.read_bytes())
    return path


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


class BreachesUrl(Url):
    """A range API, to whose address five hexadecimal digits are added."""

    schemes = ("https", "http")
    example = "https://api.pwnedpasswords.com/range"


Registration = Literal["open", "confirmed", "closed"]


class RestSettings(StoreSettings, LimitSettings, ProcessSettings):
    """The REST service."""

    jwt_private_key_file: Annotated[ExistingFile, AfterValidator(_holds_a_private_key)]
    """The PEM file of the key that signs access tokens; `rest-api setup` makes one."""

    rest_host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 takes calls from everywhere."""

    rest_port: Port = 8000
    """The TCP port to listen on."""

    rest_share_port: bool = False
    """Whether other processes of this service may listen on the same port; Linux divides the connections among them."""

    access_token_seconds: Annotated[int, Field(ge=60, le=86_400)] = 900
    """How long an access token is good."""

    refresh_token_seconds: Annotated[int, Field(ge=3_600, le=31_536_000)] = 2_592_000
    """How long a refresh token is good, and how long a session lives that is not refreshed."""

    max_body_bytes: Annotated[int, Field(ge=1_024)] = 8 * 2**20
    """The longest request body that is read."""

    max_import_bytes: Annotated[int, Field(ge=1_024)] = 2**30
    """The longest upload of books that is read, which is never in memory as a whole."""

    max_imports: Annotated[int, Field(ge=1, le=100)] = 8
    """How many imports may run at a time; of one user, half of them."""

    max_exports: Annotated[int, Field(ge=1, le=100)] = 4
    """How many exports may run at once; of one user, half of them. Each has a connection to the database of its own."""

    require_if_match: bool = False
    """Whether a book is changed or deleted only with If-Match, which says what version of it was seen."""

    trusted_proxies: Networks = ""
    """The proxies in front of this service, whose word for the address of a client is taken; without any, no one's."""

    cors_origins: Origins = ""
    """The other sites whose pages may call this service; without any, none may."""

    header_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """How long a client may take to send the headers of a request. In that time, as many KiB of its body must come."""

    drain_seconds: Annotated[int, Field(ge=0)] = 10
    """How long requests that are running may take to finish when the service is told to stop."""

    access_log: bool = False
    """Whether each request is logged."""

    public_url: PublicUrl = PublicUrl("http://127.0.0.1:8000")
    """Where people reach this service: what links in mails begin with."""

    registration: Registration | None = None
    """Who gets an account and may sign in: everybody (`open`), those who have confirmed their address (`confirmed`), or
    nobody but whom a superuser invites (`closed`); unless it is set, `confirmed` with SMTP_URL and `open` without."""

    breached_passwords_url: BreachesUrl | None = None
    """The range API that knows passwords found in stolen data, and is told five digits of a password's SHA-1; without
    one nobody is asked."""

    audit_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    """For how many days it is kept what was done with accounts."""

    default_role: Literal["reader", "editor"] = "editor"
    """What those may do who make an account: read books, or write them too."""

    smtp_url: SmtpUrl | None = None
    """The mail server; without one the links go to the log."""

    mail_from: Annotated[str, AfterValidator(_checked_sender)] = "colophon@localhost"
    """The sender of mails."""

    github_client_id: str | None = None
    """What GitHub calls this service; without it nobody signs in with GitHub."""

    github_client_secret: SecretStr | None = None
    """What GitHub gave with GITHUB_CLIENT_ID."""

    google_client_id: str | None = None
    """What Google calls this service; without it nobody signs in with Google."""

    google_client_secret: SecretStr | None = None
    """What Google gave with GOOGLE_CLIENT_ID."""

    def who_registers(self) -> Registration:
        return self.registration or ("confirmed" if self.smtp_url else "open")

    @field_validator("github_client_secret", "google_client_secret")
    @classmethod
    def _comes_with_an_id(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        client_id = str(info.field_name).replace("secret", "id")
        if (secret is None) != (info.data.get(client_id) is None):
            raise ValueError(f"must be set if {client_id.upper()} is, and only then")
        return secret
