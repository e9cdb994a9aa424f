"""A mail server in the test's own process, and what has arrived there."""

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from support.ports import free_port
from support.waiting import until


class Mailbox:
    """The mails that a server of aiosmtpd has taken."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 Message accepted for delivery"

    async def newest(self, to: str, subject: str) -> EmailMessage:
        """The newest mail with this subject to this address, which may still be under way."""

        def found() -> list[EmailMessage]:
            return [each for each in self.messages if (each["To"], each["Subject"]) == (to, subject)]

        return (await until(found, f"a mail {subject!r} has come to {to}"))[-1]

    async def token_of(self, to: str, subject: str) -> str:
        """The token of the newest link in a mail with this subject."""
        return _token(await self.newest(to, subject))

    async def reset_token(self, to: str) -> str:
        """The token of the newest link to choose a new password."""
        return _token(await self.newest(to, "Choose a new password"))

    async def verification_token(self, to: str) -> str:
        """The token of the newest link to confirm an address."""
        return _token(await self.newest(to, "Confirm your e-mail address"))


def _token(message: EmailMessage) -> str:
    found = re.search(r"#token=(\S+)", message.get_content())
    assert found
    return found[1]


@contextmanager
def mail_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    """Takes mails on a port of 127.0.0.1 until the block ends. The options are those of aiosmtpd's SMTP."""
    server = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **options)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
