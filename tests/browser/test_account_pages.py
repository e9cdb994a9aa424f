"""The pages that links in mails lead to, in a real browser: without a mail server, the log has the links."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from support.people import PASSWORD
from support.services import RestApi
from support.waiting import PATIENCE

from .conftest import Visit

ANOTHER = "staple battery horse"


@pytest.fixture
def visit(browser: Browser, rest: RestApi) -> Visit:
    return Visit(browser, rest.url)


def newest_link(rest: RestApi, kind: str) -> str:
    links: list[str] = re.findall(rf"{re.escape(rest.url)}/account/{kind}#token=[\w.-]+", rest.output)
    return links[-1]


def sign_in(rest: RestApi, email: str, password: str) -> httpx.Response:
    credentials = {"username": email, "password": password}
    return httpx.post(f"{rest.url}/api/v1/auth/login", data=credentials, timeout=PATIENCE)


def is_confirmed(rest: RestApi, email: str, password: str) -> bool:
    bearer = {"Authorization": f"Bearer {sign_in(rest, email, password).json()['access_token']}"}
    me = httpx.get(f"{rest.url}/api/v1/users/me", headers=bearer, timeout=PATIENCE)
    confirmed: bool = me.json()["is_verified"]
    return confirmed


def confirm(page: Page, password: str) -> None:
    page.get_by_label("Password of your account").fill(password)
    page.get_by_role("button", name="Confirm my address").click()


class TestConfirmingAnAddress:
    def test_takes_the_password_of_the_account(self, visit: Visit, rest: RestApi, email: str, tmp_path: Path) -> None:
        visit.page.goto(newest_link(rest, "verify"))
        confirm(visit.page, "a wrong password")
        expect(visit.page.locator("#message")).to_have_text("The password is wrong.")
        visit.page.screenshot(path=tmp_path / "wrong.png")
        assert not is_confirmed(rest, email, PASSWORD)
        confirm(visit.page, PASSWORD)
        expect(visit.page.locator("#message")).to_contain_text("your address is confirmed")
        assert "#" not in visit.page.url
        assert is_confirmed(rest, email, PASSWORD)
        assert [each for each in visit.troubles if "403" not in each] == []

    def test_leads_who_did_not_choose_the_password_to_choosing_one(
        self, visit: Visit, rest: RestApi, email: str
    ) -> None:
        to_confirm = newest_link(rest, "verify")
        page = visit.page
        page.goto(to_confirm)
        page.get_by_role("link", name="choose one").click()
        page.get_by_label("E-mail address").fill(email)
        page.get_by_role("button", name="Send me a link").click()
        expect(page.locator("#message")).to_contain_text("is on its way")
        page.goto(newest_link(rest, "reset-password"))
        page.get_by_label("New password").fill(ANOTHER)
        page.get_by_role("button", name="Set the password").click()
        expect(page.locator("#message")).to_contain_text("Your new password is set")
        assert sign_in(rest, email, PASSWORD).status_code == 400
        page.goto(to_confirm)
        confirm(page, ANOTHER)
        expect(page.locator("#message")).to_contain_text("your address is confirmed")
        assert is_confirmed(rest, email, ANOTHER)
        assert visit.troubles == []
