"""API7:2023 does not apply: the service fetches nothing from an address that a request names. That is the claim."""

import re
from typing import Any

import httpx
import pytest
from support.operations import Operation

_ADDRESS = re.compile(r"ur[li]|link|href|callback|redirect|webhook|host|target|next$", re.IGNORECASE)
OWN = {"link_id"}
"""What bears such a name and is none."""


class TestNoRequest:
    def test_names_an_address(self, document: dict[str, Any], operations: list[Operation]) -> None:
        parameters = {each["name"] for operation in operations for each in operation.parameters}
        fields = {
            name
            for schema in document["components"]["schemas"].values()
            for name, field in schema.get("properties", {}).items()
            if field.get("format") in ("uri", "uri-reference", "iri", "hostname", "ipv4", "ipv6")
        }
        assert fields <= {"authorization_url"}, "an answer of ours, which tells where to go"
        assert {name for name in parameters if _ADDRESS.search(name)} <= OWN

    @pytest.mark.parametrize("provider", ["github", "google"])
    async def test_decides_where_a_provider_sends_people_back(
        self, anonymous: httpx.AsyncClient, provider: str
    ) -> None:
        theirs = {
            "redirect_uri": "https://evil.example",
            "redirect_url": "https://evil.example",
            "next": "//evil.example",
        }
        answer = await anonymous.get(
            f"/api/v1/auth/{provider}/authorize", params=theirs, headers={"Host": "evil.example"}
        )
        assert "evil.example" not in answer.text
        assert "evil.example" not in str(answer.headers)

    async def test_decides_where_links_in_mails_lead(self, anonymous: httpx.AsyncClient) -> None:
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        account = {"email": "ada@example.org", "password": "correct horse battery"}
        assert (await anonymous.post("/api/v1/auth/register", json=account, headers=headers)).status_code == 201
