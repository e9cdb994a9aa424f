"""Methods that an address does not take."""

import httpx
import pytest


class TestAMethodThatAnAddressDoesNotTake:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            pytest.param("OPTIONS", "/api/v1/books", "GET, HEAD, POST", id="methods-of-several-routes"),
            pytest.param("POST", "/api/v1/books/1", "DELETE, GET, HEAD, PATCH, PUT", id="address-with-a-parameter"),
            pytest.param("PUT", "/api/v1/books/batch", "POST", id="not-taken-for-a-book-called-batch"),
            pytest.param("DELETE", "/api/v1/users/me", "GET, HEAD, PATCH", id="not-taken-for-a-user-called-me"),
            pytest.param("POST", "/docs", "GET, HEAD", id="a-page"),
        ],
    )
    async def test_is_told_which_ones_it_takes(
        self, anonymous: httpx.AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        answer = await anonymous.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert answer.json()["type"] == "urn:colophon:method-not-allowed"

    async def test_is_refused_where_nothing_is_with_404(self, anonymous: httpx.AsyncClient) -> None:
        assert (await anonymous.put("/api/v1/nothing")).status_code == 404
