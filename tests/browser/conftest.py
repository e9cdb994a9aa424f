"""A real browser, with the network closed but for the service."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request, Route, expect, sync_playwright
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.postgresql import PostgreSQLServer
from support.services import RestApi, RestApiThatHashesQuickly
from support.waiting import PATIENCE
from support.workspace import Workspace

_MILLISECONDS = PATIENCE * 1_000


@pytest.fixture(scope="module")
def rest(
    workspace: Workspace,
    postgresql: PostgreSQLServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RestApi]:
    """The service of a module."""
    keys = tmp_path_factory.mktemp("keys")
    make_key_pair(keys / "private.pem", keys / "public.pem")
    database = postgresql.lend_database(migrated_template)
    environment = {
        "DATABASE_URL": postgresql.url_of(database),
        "JWT_PRIVATE_KEY_FILE": str(keys / "private.pem"),
    }
    rest = RestApiThatHashesQuickly(workspace, environment)
    rest.environment["PUBLIC_URL"] = rest.url
    with rest:
        yield rest
    postgresql.take_back(database)


@pytest.fixture
def email(rest: RestApi) -> str:
    """Of someone who has registered, last of all."""
    email = f"{uuid4().hex}@example.org"
    account = {"email": email, "password": PASSWORD}
    httpx.post(f"{rest.url}/api/v1/auth/register", json=account, timeout=PATIENCE).raise_for_status()
    return email


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium without a window. Its sandbox does not start for root, and it sees nothing here but our own page."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=_MILLISECONDS)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=_MILLISECONDS)
        yield browser
        browser.close()


class Visit:
    """A page that reaches one service and nothing else, and what went wrong on it."""

    def __init__(self, browser: Browser, origin: str) -> None:
        self._origin = urlsplit(origin).netloc
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 1600})
        self.page.set_default_timeout(_MILLISECONDS)
        self.page.route("**/*", self._let_through_to_the_service)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        # A browser tells of what a Content-Security-Policy keeps from being, in the console and in this event.
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event => console.error('CSP', event.violatedDirective))"
        )

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.troubles.append(said.text)

    def _let_through_to_the_service(self, route: Route, request: Request) -> None:
        self.requests.append(request.url)
        address = urlsplit(request.url)
        if address.netloc == self._origin or address.scheme in ("data", "blob"):
            route.continue_()
        else:
            self.troubles.append(f"asked for {request.url}")
            route.abort()
