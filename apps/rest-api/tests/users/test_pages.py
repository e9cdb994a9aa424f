import re

import httpx
import pytest

PAGES = ["/account/verify", "/account/reset-password"]
FILES = ["/account/files/account.css", "/account/files/account.js"]


class TestAccountPages:
    @pytest.mark.parametrize("path", PAGES)
    async def test_take_nothing_from_elsewhere(self, anonymous: httpx.AsyncClient, path: str) -> None:
        page = await anonymous.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = re.findall(r"(?:src|href)=\"(.*?)\"", page.text)
        assert links == ["files/account.css", "files/account.js"] + ["reset-password"] * path.endswith("verify")
        assert "http" not in page.text

    @pytest.mark.parametrize("path", PAGES)
    async def test_have_nothing_that_their_policy_forbids(self, anonymous: httpx.AsyncClient, path: str) -> None:
        page = await anonymous.get(path)
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert not re.search(r"<style|<script(?! src)| on\w+=| style=", page.text)

    @pytest.mark.parametrize("path", PAGES + FILES)
    async def test_tell_nobody_where_one_came_from(self, anonymous: httpx.AsyncClient, path: str) -> None:
        page = await anonymous.get(path)
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", PAGES)
    async def test_label_every_field(self, anonymous: httpx.AsyncClient, path: str) -> None:
        page = (await anonymous.get(path)).text
        for field in re.findall(r'<input id="(\w+)"', page):
            assert f'for="{field}"' in page or re.search(rf'<label[^>]*><input id="{field}"', page)
        assert '<html lang="en">' in page

    @pytest.mark.parametrize(("path", "kind"), [(FILES[0], "text/css"), (FILES[1], "text/javascript")])
    async def test_bring_their_files(self, anonymous: httpx.AsyncClient, path: str, kind: str) -> None:
        file = await anonymous.get(path)
        assert (file.status_code, file.headers["content-type"]) == (200, f"{kind}; charset=utf-8")

    async def test_ask_for_elements_that_are_there(self, anonymous: httpx.AsyncClient) -> None:
        script = (await anonymous.get("/account/files/account.js")).text
        pages = [(await anonymous.get(path)).text for path in PAGES]
        for element in re.findall(r'getElementById\("(\w+)"\)', script):
            assert any(f'id="{element}"' in page for page in pages), element

    async def test_stay_out_of_the_api_document(self, anonymous: httpx.AsyncClient) -> None:
        assert "/account" not in (await anonymous.get("/api/v1/openapi.json")).text
