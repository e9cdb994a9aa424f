"""A mail server of the tests' own, and people who sign in."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from book_runtime.settings import load
from fastapi import FastAPI
from rest_api.settings import RestSettings
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox, mail_server
from support.people import Person


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp_port(mailbox: Mailbox) -> Iterator[int]:
    """Of a mail server that takes everything."""
    with mail_server(mailbox) as port:
        yield port


@pytest.fixture
def rest_settings(database_url: str, private_key_file: Path, smtp_port: int) -> RestSettings:
    """The service with a mail server, and open to everybody all the same."""
    return load(
        RestSettings,
        database_url=database_url,
        jwt_private_key_file=private_key_file,
        redis_url=None,
        smtp_url=f"smtp://127.0.0.1:{smtp_port}",
        registration="open",
        mail_from="Colophon <books@example.org>",
        public_url="https://books.example.org/catalogue/",
    )


@pytest.fixture
def services(app: FastAPI) -> AccountServices:
    services: AccountServices = app.state.account_services
    return services


@pytest.fixture
async def ada(anonymous: httpx.AsyncClient) -> Person:
    """A user who is signed in."""
    return await _signed_in(anonymous)


@pytest.fixture
async def superuser(anonymous: httpx.AsyncClient, services: AccountServices) -> Person:
    """A superuser who is signed in."""
    person = await _signed_in(anonymous)
    await services.users.change(person.id, {"is_superuser": True}, decided_on={"id": person.id})
    return person


async def _signed_in(client: httpx.AsyncClient) -> Person:
    person = await Person.register(client)
    await person.sign_in()
    return person
