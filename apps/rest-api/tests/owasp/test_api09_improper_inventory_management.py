"""API9:2023. What is served is known: every route is in the OpenAPI document, or named here."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from support.operations import Operation

BESIDE_THE_API = {
    "/api/v1/openapi.json",
    "/docs",
    "/docs/files",
    "/account/verify",
    "/account/reset-password",
    "/account/files/account.css",
    "/account/files/account.js",
}
"""Routes that are in no document: the document itself, and pages for people."""


class TestEveryRoute:
    def test_is_in_the_document_or_named_here(self, app: FastAPI, operations: list[Operation]) -> None:
        served = set(_paths(app.routes))
        assert served - {operation.path for operation in operations} == BESIDE_THE_API
        assert {operation.path for operation in operations} <= served

    def test_of_the_api_is_of_its_one_version(self, operations: list[Operation]) -> None:
        assert {"/".join(each.path.split("/")[:3]) for each in operations} == {
            "/api/v1",
            "/healthz/live",
            "/healthz/ready",
        }

    def test_says_what_it_does(self, operations: list[Operation]) -> None:
        for operation in operations:
            assert operation.document.get("description") or operation.document.get("summary"), operation.id
            assert operation.document.get("tags"), operation.id

    def test_is_called_by_one_name(self, operations: list[Operation]) -> None:
        assert len({operation.id for operation in operations}) == len(operations)


def _paths(routes: Any) -> Iterator[str]:
    """Those of all routes, however they are nested."""
    for route in iter_route_contexts(routes):
        assert route.path
        yield route.path
