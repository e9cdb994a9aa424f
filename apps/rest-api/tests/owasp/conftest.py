"""A service with people in it: Ada, whose things they are; Eve, who would like to have them; and a superuser."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from book_runtime.settings import load
from fastapi import FastAPI
from rest_api.settings import RestSettings
from rest_api.users.services import AccountServices
from support.operations import Operation, operations_of
from support.people import Person


@pytest.fixture(autouse=True)
def _quick_hashing(quick_hashing: None) -> None:
    """For all of them."""


@pytest.fixture
def rest_settings(database_url: str, private_key_file: Path) -> RestSettings:
    """The service with every part that can be configured, as far as it changes what can be called."""
    return load(
        RestSettings,
        database_url=database_url,
        jwt_private_key_file=private_key_file,
        redis_url=None,
        github_client_id="client",
        github_client_secret="secret",
        google_client_id="client",
        google_client_secret="secret",
    )


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


@pytest.fixture
def operations(document: dict[str, Any]) -> list[Operation]:
    found = list(operations_of(document))
    assert len(found) > 20
    return found


@pytest.fixture
async def ada(anonymous: httpx.AsyncClient) -> Person:
    return await _signed_in(anonymous)


@pytest.fixture
async def eve(anonymous: httpx.AsyncClient) -> Person:
    return await _signed_in(anonymous)


@pytest.fixture
async def superuser(app: FastAPI, anonymous: httpx.AsyncClient) -> Person:
    services: AccountServices = app.state.account_services
    person = await _signed_in(anonymous)
    await services.users.change(person.id, {"is_superuser": True}, decided_on={"id": person.id})
    return person


async def _signed_in(client: httpx.AsyncClient) -> Person:
    person = await Person.register(client)
    await person.sign_in()
    return person
