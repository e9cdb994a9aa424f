"""The OpenAPI document, with what FastAPI cannot be told: that errors are problem documents, and what leads to what."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from rest_api import links
from rest_api.books.schemas import BookDrafts
from rest_api.books.streams.schemas import BookLine, ImportedLine, ImportSummary, RefusedLine
from rest_api.guard import LOGIN_PATH, SECURITY_SCHEMES
from rest_api.problems.document import MEDIA_TYPE, Problem

_REFERENCE: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_BESIDES: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (Problem, "serialization"),
    (BookDrafts, "validation"),
    (BookLine, "validation"),
    (ImportedLine, "serialization"),
    (RefusedLine, "serialization"),
    (ImportSummary, "serialization"),
]
"""What no operation has as its own body, but refers to."""
_OF_FASTAPI: Final = ("HTTPValidationError", "ValidationError")


_LOGIN: Final = ("Body_login", "Credentials")
"""FastAPI's name for the form, and ours."""

_CREDENTIALS: Final = {
    "title": "Credentials",
    "description": "What signing in takes (RFC 6749, section 4.3.2).",
    "type": "object",
    "required": ["username", "password"],
    "properties": {
        "username": {"type": "string", "minLength": 1, "description": "The e-mail address."},
        "password": {"type": "string", "minLength": 1, "format": "password"},
        "grant_type": {"type": "string", "enum": ["password"]},
        "scope": {"type": "string", "description": "Of no effect: a session opens everything that the user may do."},
        "client_id": {"type": "string", "description": "Of no effect."},
        "client_secret": {"type": "string", "format": "password", "description": "Of no effect."},
    },
}
"""The form of fastapi.security. Its fields are never null, which a form cannot say, and never empty: that is absent."""


def install(app: FastAPI) -> None:
    """Makes the app's document this one. It is put together once, when it is first asked for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            document["components"]["securitySchemes"] = SECURITY_SCHEMES
            schemas = document["components"]["schemas"]
            schemas |= models_json_schema(_BESIDES, ref_template="#/components/schemas/{model}")[1]["$defs"]
            for name in _OF_FASTAPI:
                schemas.pop(name, None)
            for response in _error_responses(document):
                response["content"] = _REFERENCE
            _describe_login(document)
            links.add_to(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _describe_login(document: dict[str, Any]) -> None:
    theirs, ours = _LOGIN
    del document["components"]["schemas"][theirs]
    document["components"]["schemas"][ours] = _CREDENTIALS
    [form] = document["paths"][LOGIN_PATH]["post"]["requestBody"]["content"].values()
    form["schema"] = {"$ref": f"#/components/schemas/{ours}"}


def _error_responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        response
        for path in document["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    ]
