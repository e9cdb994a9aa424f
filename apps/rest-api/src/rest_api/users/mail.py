"""How mails leave: through an SMTP server, or to the log where none is configured."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from typing import Final, Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib
import structlog
from book_runtime.outage import Outage, Reason
from book_runtime.retry import Failure, retry
from book_runtime.tasks import OwnedTasks

from rest_api.users.addresses import for_smtp

_log = structlog.get_logger(__name__)

_SENDER: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
"""Wider than what users may have: a service on a closed network may send from a host without a dot in its name."""


@dataclass(frozen=True, slots=True)
class Email:
    """A mail to one person."""

    to: str
    subject: str
    text: str
    link: str | None = None
    """It is in the text too, and is a secret: with it alone one can do what the mail is about."""


class Mailer(Protocol):
    """A way to get an email to its reader."""

    async def send(self, email: Email) -> None:
        """Returns when the email has been taken over; raises what went wrong."""


class LogMailer:
    """Writes the link into the log, for people who try the service out."""

    async def send(self, email: Email) -> None:
        if email.link is None:
            _log.info("SMTP_URL is not set, so this mail was not sent", to=email.to, subject=email.subject)
            return
        _log.warning(
            "SMTP_URL is not set, so this mail was not sent: its link is here",
            to=email.to,
            subject=email.subject,
            link=email.link,
        )


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and how it is spoken to."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    use_tls: bool = False
    """TLS from the first byte."""
    start_tls: bool | None = None
    """Whether the connection must be encrypted before anything is sent; None is where the server offers it."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """`smtp://user:password@host:port?starttls=1`, or smtps://. Raises ValueError, which repeats nothing of it.

        With a user name, smtp:// insists on STARTTLS unless `starttls=0` says otherwise.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # whose text may hold a part of the password
            raise ValueError("it is not a URL") from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        start_tls = {None: None, "1": True, "0": False}.get(asked := options.pop("starttls", None), ...)
        if start_tls is ... or options:
            raise ValueError("the only option is starttls, which is 1 or 0")
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("it must start with smtp:// or smtps:// and name a host")
        use_tls = parts.scheme == "smtps"
        if use_tls and asked is not None:
            raise ValueError("smtps:// is encrypted from the start, so starttls does not go with it")
        if parts.username and not use_tls and start_tls is None:
            start_tls = True
        return cls(
            host=parts.hostname,
            port=port or (465 if use_tls else 587 if start_tls else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or "") if parts.username else None,
            use_tls=use_tls,
            start_tls=False if use_tls else start_tls,
        )


class SmtpMailer:
    """Hands mails to an SMTP server; again a few times when the connection fails."""

    def __init__(self, server: SmtpServer, sender: str, *, retry_delay: float = 1) -> None:
        """`sender` is an address, or `Name <address>`. Raises ValueError when it is neither."""
        self._server = server
        self._sender = mailbox(sender)
        self._outage = Outage(_log, "the mail server", "each mail is tried four times")
        # Connection trouble of aiosmtplib is an OSError too. What the server refused it would refuse again.
        again = retry(times=3, delay=retry_delay, backoff=3, exceptions=OSError, on_retry=self._say_that_it_is_away)
        self._hand_over: Final[Callable[[EmailMessage], Awaitable[object]]] = again(self._hand_over_once)

    async def send(self, email: Email) -> None:
        await self._hand_over(self._message(email))
        self._outage.end()

    def _say_that_it_is_away(self, failure: Failure) -> None:
        self._outage.begin(Reason(str(failure.exception), type(failure.exception)))

    async def _hand_over_once(self, message: EmailMessage) -> None:
        await aiosmtplib.send(
            message,
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=self._server.use_tls,
            start_tls=self._server.start_tls,
            timeout=15,
        )

    def _message(self, email: Email) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = _address(for_smtp(email.to))
        message["Subject"] = email.subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that no holiday notice answers
        message.set_content(email.text)
        return message


def mailbox(sender: str) -> Address:
    """An address, or `Name <address>`. Raises ValueError when it is neither."""
    name, address = parseaddr(sender)
    if not sender.isprintable() or not _SENDER.fullmatch(address):
        raise ValueError("it must be an e-mail address, or a name and an address: Name <name@example.org>")
    return _address(address, name)


def _address(address: str, name: str = "") -> Address:
    username, _, domain = address.rpartition("@")
    return Address(name, username, domain)


class MailQueue:
    """Sends emails in the background of the requests that cause them.

    No answer waits for a mail: how long it takes would tell whether an address is known.
    To be used as an async context manager, which waits for the mails that are under way.
    """

    _MAX_CONCURRENT: Final = 4
    _MAX_WAITING: Final = 1_000

    def __init__(self, mailer: Mailer, *, patience: float = 10) -> None:
        """`patience` is how many seconds mails have to leave when the service ends."""
        self.patience = patience
        self._mailer = mailer
        self._turns = asyncio.Semaphore(self._MAX_CONCURRENT)
        self._under_way = OwnedTasks()

    def put(self, email: Email) -> None:
        """Sends the email in the background. What goes wrong with it goes to the log."""
        if len(self._under_way) >= self._MAX_WAITING:
            _log.error("a mail was not sent: too many are waiting", to=email.to, subject=email.subject)
            return
        self._under_way.spawn(self._deliver(email))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Waits for the mails that are under way, then gives up on the rest."""
        await self._under_way.drain(self.patience)

    async def _deliver(self, email: Email) -> None:
        try:
            async with self._turns:
                await self._mailer.send(email)
        except asyncio.CancelledError:
            _log.error("a mail was not sent: the service ended first", to=email.to, subject=email.subject)
            raise
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it
            _log.error("a mail could not be sent", to=email.to, subject=email.subject, cause=_cause(error, email))


def _cause(error: Exception, email: Email) -> str:
    """What went wrong. A server may quote a mail that it refuses, and the link in it is a secret."""
    if not isinstance(error, OSError | aiosmtplib.SMTPException):
        return type(error).__name__
    text = str(error)
    if email.link is not None:
        for secret in (email.link, email.link.rpartition("=")[2]):
            text = text.replace(secret, "***")
    return f"{type(error).__name__}: {text}"
