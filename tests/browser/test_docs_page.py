"""Swagger UI in a real browser, with the network closed: what somebody does who tries the API for the first time."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.services import RestApi
from support.waiting import PATIENCE
from support.workspace import Workspace

EMAIL = "ada@example.org"
_MILLISECONDS = PATIENCE * 1_000
BOOK = '{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'


@pytest.fixture
def rest(workspace: Workspace, database_url: str, tmp_path: Path) -> Iterator[RestApi]:
    make_key_pair(tmp_path / "private.pem", tmp_path / "public.pem")
    environment = {"DATABASE_URL": database_url, "JWT_PRIVATE_KEY_FILE": str(tmp_path / "private.pem")}
    with RestApi(workspace, environment) as rest:
        account = {"email": EMAIL, "password": PASSWORD}
        httpx.post(f"{rest.url}/api/v1/auth/register", json=account, timeout=PATIENCE).raise_for_status()
        yield rest


@pytest.fixture
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


class TestTheDocsPage:
    def test_signs_in_and_creates_a_book_with_the_network_closed(
        self, rest: RestApi, browser: Browser, tmp_path: Path
    ) -> None:
        visit = Visit(browser, rest.url)
        page = visit.page
        page.goto(f"{rest.url}/docs")
        _authorise(page)
        _create_a_book(page)
        # What is kept there outlives the browser.
        assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        page.screenshot(path=tmp_path / "docs.png", full_page=True)
        print(f"{len(visit.requests)} requests, {len(visit.troubles)} troubles; the page is in {tmp_path / 'docs.png'}")
        assert visit.troubles == []
        assert any(url.endswith("swagger-ui-bundle.js") for url in visit.requests)


def _authorise(page: Page) -> None:
    page.locator(".auth-wrapper > button.authorize").click()
    form = page.locator(".auth-container", has=page.locator("#oauth_username"))
    form.locator("#oauth_username").fill(EMAIL)
    form.locator("#oauth_password").fill(PASSWORD)
    form.locator("button.authorize").click()
    expect(page.locator(".modal-ux").get_by_text("Logout")).to_be_visible()
    page.locator(".modal-ux .close-modal").click()


def _create_a_book(page: Page) -> None:
    operation = page.locator("#operations-books-createBook")
    operation.locator(".opblock-summary-control").click()
    operation.locator("textarea.body-param__text").fill(BOOK)
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_contain_text("201")
    expect(answer).to_contain_text("Middlemarch")
