"""The OpenAPI document, and the page that shows it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from rest_api.links import LINKS


@pytest.fixture
async def document(anonymous: httpx.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await anonymous.get("/api/v1/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


class TestTheDocument:
    def test_gives_each_operation_a_name_that_stays(self, document: dict[str, Any]) -> None:
        assert sorted(operation["operationId"] for operation in operations(document)) == [
            "changeBook",
            "changeMe",
            "changeUser",
            "createBook",
            "createBooks",
            "createToken",
            "createUser",
            "deleteBook",
            "deleteUser",
            "endAccess",
            "endOneAccess",
            "endOtherSessions",
            "endSession",
            "exportBooks",
            "forgotPassword",
            "getBook",
            "getMe",
            "getUser",
            "importBooks",
            "isLive",
            "isReady",
            "listAccess",
            "listAudit",
            "listBooks",
            "listMyAudit",
            "listSessions",
            "listTokens",
            "listUsers",
            "login",
            "logout",
            "refresh",
            "register",
            "removeToken",
            "replaceBook",
            "requestVerification",
            "resetPassword",
            "startReset",
            "verifyEmail",
        ]

    def test_tells_that_every_error_is_a_problem_document(self, document: dict[str, Any]) -> None:
        for operation in operations(document):
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], operation["operationId"]
                    assert response["description"]

    def test_tells_which_operations_want_a_token(self, document: dict[str, Any]) -> None:
        for path, methods in document["paths"].items():
            if path.startswith("/api/v1/books"):
                for method, operation in methods.items():
                    scope = "books:read" if method == "get" else "books:write"
                    assert operation["security"] == [{"Password": []}, {"ApiToken": [scope]}]
                    assert operation["responses"].keys() >= {"401", "403"}
        assert document["components"]["securitySchemes"]["Password"]["flows"]["password"]["tokenUrl"] == (
            "/api/v1/auth/login"
        )

    def test_links_operations_that_are_there_by_parameters_that_they_have(self, document: dict[str, Any]) -> None:
        targets = {operation["operationId"]: operation for operation in operations(document)}
        links = [
            link
            for operation in operations(document)
            for response in operation["responses"].values()
            for link in response.get("links", {}).values()
        ]
        assert len(links) == len(LINKS)
        for link in links:
            target = targets[link["operationId"]]
            taken = {parameter["name"] for parameter in target.get("parameters", [])}
            assert {name.removeprefix("header.") for name in link["parameters"]} <= taken
            assert "requestBody" not in link or "requestBody" in target

    def test_shows_an_example_of_each_field_of_a_book(self, document: dict[str, Any]) -> None:
        for schema in ("Book", "BookDraft", "BookChange"):
            for field in document["components"]["schemas"][schema]["properties"].values():
                assert field["examples"]


class TestThePage:
    async def test_needs_no_file_from_anywhere_else(self, anonymous: httpx.AsyncClient) -> None:
        page = await anonymous.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "://" not in page.text
        files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert {file.rpartition(".")[2] for file in files} == {"css", "js", "png"}
        for file in files:
            assert (await anonymous.get(file)).status_code == 200
