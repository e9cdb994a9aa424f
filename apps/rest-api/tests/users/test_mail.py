import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from rest_api.users.mail import Email, LogMailer, MailQueue, SmtpMailer, SmtpServer
from structlog.testing import capture_logs
from support.mailbox import Mailbox, mail_server
from support.ports import free_port
from support.waiting import PATIENCE

LINK = "https://books.example.org/account/reset-password#token=s3cret"
SENDER = "Colophon <books@example.org>"


def an_email(to: str = "ada@example.org", subject: str = "Choose a new password") -> Email:
    return Email(to, subject, f"Open\n\n{LINK}\n", LINK)


def a_mailer(url: str, sender: str = SENDER) -> SmtpMailer:
    return SmtpMailer(SmtpServer.parse(url), sender, retry_delay=0.01)


class TestSmtpServer:
    @pytest.mark.parametrize(
        ("url", "server"),
        [
            pytest.param("smtp://mail", SmtpServer("mail", 25), id="encrypted-if-offered"),
            pytest.param("smtp://mail:2525", SmtpServer("mail", 2525), id="port"),
            pytest.param("smtp://mail?starttls=1", SmtpServer("mail", 587, start_tls=True), id="starttls"),
            pytest.param("smtp://mail?starttls=0", SmtpServer("mail", 25, start_tls=False), id="never-starttls"),
            pytest.param("smtps://mail", SmtpServer("mail", 465, use_tls=True, start_tls=False), id="tls"),
            pytest.param(
                "smtp://me%40x:p%2Fw@mail",
                SmtpServer("mail", 587, "me@x", "p/w", start_tls=True),
                id="password-is-not-bared",
            ),
            pytest.param(
                "smtp://me:pw@mail:25?starttls=0",
                SmtpServer("mail", 25, "me", "pw", start_tls=False),
                id="password-bared-on-demand",
            ),
        ],
    )
    def test_is_read_from_a_url(self, url: str, server: SmtpServer) -> None:
        assert SmtpServer.parse(url) == server

    @pytest.mark.parametrize(
        "url",
        [
            pytest.param("http://mail", id="other-scheme"),
            pytest.param("smtp://", id="no-host"),
            pytest.param("smtp://me:s3cret@mail:port", id="no-port"),
            pytest.param("smtp://me:s3cret@[mail", id="no-url"),
            pytest.param("smtp://me:s3cret@mail?starttls=yes", id="unknown-value"),
            pytest.param("smtp://me:s3cret@mail?tls=1", id="unknown-option"),
            pytest.param("smtps://me:s3cret@mail?starttls=1", id="both"),
        ],
    )
    def test_is_refused_without_repeating_the_password(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"it must|it is|the only option|smtps://") as refused:
            SmtpServer.parse(url)
        assert "s3cret" not in str(refused.value)


class TestTheSender:
    @pytest.mark.parametrize(
        "sender", ["", "books", "books@", "@example.org", "Books <>", "a@b\r\nBcc: all@example.org"]
    )
    def test_must_be_an_address(self, sender: str) -> None:
        with pytest.raises(ValueError, match="must be an e-mail address"):
            a_mailer("smtp://mail", sender)

    def test_may_be_on_this_machine(self) -> None:
        a_mailer("smtp://mail", "colophon@localhost")


class TestSmtpMailer:
    async def test_hands_over_a_whole_mail(self) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox) as port:
            await a_mailer(f"smtp://127.0.0.1:{port}").send(an_email())
        [message] = mailbox.messages
        assert message["From"] == SENDER
        assert message["To"] == "ada@example.org"
        assert message["Subject"] == "Choose a new password"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Message-ID"].endswith("@example.org>")
        assert LINK in message.get_content()

    @pytest.mark.parametrize(
        "email",
        [
            pytest.param(an_email(to="ada@example.org\r\nBcc: all@example.org"), id="recipient"),
            pytest.param(an_email(to="ada@example.org, all@example.org"), id="two-recipients"),
            pytest.param(an_email(subject="Hello\r\nBcc: all@example.org"), id="subject"),
        ],
    )
    async def test_lets_nobody_add_a_header(self, email: Email) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox) as port, pytest.raises(ValueError, match=r"email address|character|linefeed"):
            await a_mailer(f"smtp://127.0.0.1:{port}").send(email)
        assert mailbox.messages == []

    async def test_writes_an_international_domain_as_every_server_knows_it(self) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox, enable_SMTPUTF8=False) as port:
            await a_mailer(f"smtp://127.0.0.1:{port}").send(an_email(to="ada@bücher.example.org"))
        assert mailbox.messages[0]["To"] == "ada@xn--bcher-kva.example.org"

    async def test_reaches_an_international_address_where_the_server_can(self) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox, enable_SMTPUTF8=True) as port:
            await a_mailer(f"smtp://127.0.0.1:{port}").send(an_email(to="ädä@example.org"))
        assert mailbox.messages[0]["To"] == "ädä@example.org"

    async def test_tries_again_when_the_connection_is_lost(self) -> None:
        mailbox = Mailbox()
        attempts = 0

        class Moody:
            async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
                nonlocal attempts
                attempts += 1
                if attempts < 3:
                    server.transport.abort()
                    return "421 gone"
                return await mailbox.handle_DATA(server, session, envelope)

        with mail_server(Moody()) as port:  # type: ignore[arg-type]  # all that aiosmtpd asks of a handler
            await a_mailer(f"smtp://127.0.0.1:{port}").send(an_email())
        assert (attempts, len(mailbox.messages)) == (3, 1)

    async def test_gives_up_on_a_server_that_is_down(self) -> None:
        with pytest.raises(aiosmtplib.SMTPConnectError):
            await a_mailer(f"smtp://127.0.0.1:{free_port()}").send(an_email())

    async def test_does_not_bare_anything_to_a_server_without_starttls(self) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox) as port, pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
            await a_mailer(f"smtp://me:pw@127.0.0.1:{port}").send(an_email())
        assert mailbox.messages == []

    async def test_does_not_trust_a_certificate_of_nobody(self, certificate: ssl.SSLContext) -> None:
        mailbox = Mailbox()
        with mail_server(mailbox, tls_context=certificate) as port, pytest.raises((aiosmtplib.SMTPException, OSError)):
            await a_mailer(f"smtp://127.0.0.1:{port}?starttls=1").send(an_email())
        assert mailbox.messages == []

    async def test_signs_in_over_starttls(
        self, certificate: ssl.SSLContext, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        mailbox = Mailbox()
        with mail_server(mailbox, tls_context=certificate, auth_required=True, authenticator=_only_me) as port:
            await a_mailer(f"smtp://me:pw@127.0.0.1:{port}").send(an_email())
        assert len(mailbox.messages) == 1

    async def test_does_not_repeat_a_wrong_password(
        self, certificate: ssl.SSLContext, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        tries: list[object] = []

        def refuse(*_: object) -> AuthResult:
            tries.append(1)
            return AuthResult(success=False, handled=False)

        with (
            mail_server(Mailbox(), tls_context=certificate, auth_required=True, authenticator=refuse) as port,
            pytest.raises(aiosmtplib.SMTPAuthenticationError),
        ):
            await a_mailer(f"smtp://me:pw@127.0.0.1:{port}").send(an_email())
        # One for each way to sign in that the server offers, and not each again.
        assert len(tries) <= 2


def _only_me(_server: object, _session: object, _envelope: object, _mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=data == LoginPassword(b"me", b"pw"), handled=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, with its key in the same file."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path_factory.mktemp("authority") / "both.pem"
    file.write_bytes(
        signed.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


@pytest.fixture
def certificate(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority)
    return context


class TestLogMailer:
    async def test_shows_the_link(self) -> None:
        with capture_logs() as lines:
            await LogMailer().send(an_email())
        assert lines == [
            {
                "event": "SMTP_URL is not set, so this mail was not sent: its link is here",
                "log_level": "warning",
                "to": "ada@example.org",
                "subject": "Choose a new password",
                "link": LINK,
            }
        ]


class _Refusing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def send(self, _email: Email) -> None:
        raise self._error


class _Slow:
    def __init__(self, seconds: float = 0.01) -> None:
        self.sent = 0
        self._seconds = seconds

    async def send(self, _email: Email) -> None:
        await asyncio.sleep(self._seconds)
        self.sent += 1


class TestPost:
    async def test_lets_mails_leave_before_it_closes(self) -> None:
        mailer = _Slow()
        async with MailQueue(mailer, patience=PATIENCE) as queue:
            for _ in range(6):
                queue.put(an_email())
            assert mailer.sent == 0
        assert mailer.sent == 6

    async def test_does_not_wait_for_ever(self) -> None:
        with capture_logs() as lines:
            async with MailQueue(_Slow(seconds=3_600), patience=0.01) as queue:
                queue.put(an_email())
        assert [line["event"] for line in lines] == ["a mail was not sent: the service ended first"]

    async def test_takes_no_more_than_it_can_carry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MailQueue, "_MAX_WAITING", 2)
        mailer = _Slow()
        with capture_logs() as lines:
            async with MailQueue(mailer, patience=PATIENCE) as queue:
                for _ in range(3):
                    queue.put(an_email())
        assert mailer.sent == 2
        assert [line["event"] for line in lines] == ["a mail was not sent: too many are waiting"]

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            pytest.param(
                aiosmtplib.SMTPDataError(554, f"rejected: {LINK} is on our list"),
                "SMTPDataError: (554, 'rejected: *** is on our list')",
                id="quoted-by-the-server",
            ),
            pytest.param(
                aiosmtplib.SMTPDataError(554, "rejected: token=s3cret"),
                "SMTPDataError: (554, 'rejected: token=***')",
                id="quoted-in-part",
            ),
            pytest.param(ValueError(f"cannot read {LINK}"), "ValueError", id="of-our-own"),
        ],
    )
    async def test_logs_what_went_wrong_without_the_token(self, error: Exception, cause: str) -> None:
        with capture_logs() as lines:
            async with MailQueue(_Refusing(error)) as queue:
                queue.put(an_email())
        [line] = lines
        assert line == {
            "event": "a mail could not be sent",
            "log_level": "error",
            "to": "ada@example.org",
            "subject": "Choose a new password",
            "cause": cause,
        }
