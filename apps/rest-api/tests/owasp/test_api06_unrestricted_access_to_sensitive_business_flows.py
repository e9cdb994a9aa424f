"""API6:2023. Flows that cost others something are not run by the thousand: accounts that fill the database, mails that
fill the box of someone who did not ask.

With the limits that the service comes with. That each of them holds, and for whom, is in users/test_rate_limits.py.
"""

from typing import Any

import httpx
import pytest
from support.operations import Operation
from support.people import PASSWORD, Person


class TestAsTheServiceComes:
    async def test_one_address_registers_60_accounts_an_hour(self, anonymous: httpx.AsyncClient) -> None:
        statuses = []
        for n in range(63):
            account = {"email": f"bot{n}@example.org", "password": PASSWORD}
            statuses.append((await anonymous.post("/api/v1/auth/register", json=account)).status_code)
        assert statuses == [201] * 60 + [429] * 3

    @pytest.mark.parametrize("endpoint", ["forgot-password", "request-verify-token"])
    async def test_a_box_gets_five_mails_an_hour(
        self, ada: Person, anonymous: httpx.AsyncClient, endpoint: str
    ) -> None:
        statuses = [
            (await anonymous.post(f"/api/v1/auth/{endpoint}", json={"email": ada.email})).status_code for _ in range(7)
        ]
        assert statuses == [202] * 5 + [429] * 2

    def test_what_strangers_may_call_is_limited(self, operations: list[Operation]) -> None:
        unlimited = {each.id for each in operations if each.is_open and "429" not in each.document["responses"]}
        assert unlimited == FREE


FREE: set[Any] = {
    "isLive",
    "isReady",
    # Costs no more than a redirect.
    "authorizeWithGitHub",
    "authorizeWithGoogle",
}
"""What strangers may ask as often as they like."""
