"""Swagger UI in a real browser, with the network closed: what somebody does who tries the API for the first time."""

from playwright.sync_api import Browser, Page, expect
from support.people import PASSWORD
from support.services import RestApi

from .conftest import Visit

BOOK = '{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'


class TestTheDocsPage:
    def test_signs_in_and_creates_a_book_with_the_network_closed(
        self, rest: RestApi, email: str, browser: Browser
    ) -> None:
        visit = Visit(browser, rest.url)
        page = visit.page
        page.goto(f"{rest.url}/docs")
        _authorise(page, email)
        _create_a_book(page)
        # What is kept there outlives the browser.
        assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        print(f"{len(visit.requests)} requests, {len(visit.troubles)} troubles")
        assert visit.troubles == []
        assert any(url.endswith("swagger-ui-bundle.js") for url in visit.requests)


def _authorise(page: Page, email: str) -> None:
    page.locator(".auth-wrapper > button.authorize").click()
    form = page.locator(".auth-container", has=page.locator("#oauth_username"))
    form.locator("#oauth_username").fill(email)
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
