"""The service, registered with GitHub and Google, which are played by respx."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
import respx
from fastapi import FastAPI
from pydantic import SecretStr
from rest_api.settings import RestSettings
from support.providers import SECRET, Browser, Browsers, GitHub, Google, Provider

Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def rest_settings(rest_settings: RestSettings) -> RestSettings:
    """The service, registered with both."""
    secret = SecretStr(SECRET)
    return rest_settings.model_copy(
        update={
            "github_client_id": "colophon-at-github",
            "github_client_secret": secret,
            "google_client_id": "colophon-at-google",
            "google_client_secret": secret,
        }
    )


@pytest.fixture
def providers() -> Iterator[respx.MockRouter]:
    """What answers in their stead: nothing else is reached by network."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def github(providers: respx.MockRouter) -> GitHub:
    return GitHub(providers)


@pytest.fixture
def google(providers: respx.MockRouter) -> Google:
    return Google(providers)


@pytest.fixture(params=["github", "google"])
def provider(request: pytest.FixtureRequest) -> Provider:
    """Each of them."""
    found: Provider = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def browsers(app: FastAPI) -> AsyncIterator[Browsers]:
    async with AsyncExitStack() as closing:

        def another() -> Browser:
            browser = Browser(app)
            closing.push_async_callback(browser.client.aclose)
            return browser

        yield another


@pytest.fixture
def browser(browsers: Browsers) -> Browser:
    return browsers()


@pytest.fixture
def rows(database_url: str) -> Rows:
    """What stands in the database, asked past the service."""

    def ask(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(query).fetchall()

    return ask
