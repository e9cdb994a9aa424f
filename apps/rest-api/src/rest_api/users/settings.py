"""What the environment says of accounts: who gets one, how long they are signed in, and how mails leave."""

from collections.abc import Iterator
from typing import Annotated, Literal

from book_runtime.settings import Url
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from rest_api.users.mail import SmtpServer, mailbox
from rest_api.users.rate_limits import LimitSettings


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


class AccountSettings(LimitSettings):
    """Accounts."""

    access_token_seconds: Annotated[int, Field(ge=60, le=86_400)] = 900
    """How long an access token is good."""

    refresh_token_seconds: Annotated[int, Field(ge=3_600, le=31_536_000)] = 2_592_000
    """How long a refresh token is good, and how long a session lives that is not refreshed."""

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
