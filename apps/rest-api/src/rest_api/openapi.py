"""The OpenAPI document, with what FastAPI cannot be told: every error is a problem document."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from rest_api.books.streams.schemas import BookLine, ImportedLine, ImportSummary, RefusedLine
from rest_api.problems import MEDIA_TYPE, Problem

_REFERENCE: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_BESIDES: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (Problem, "serialization"),
    (BookLine, "validation"),
    (ImportedLine, "serialization"),
    (RefusedLine, "serialization"),
    (ImportSummary, "serialization"),
]
"""What no operation has as its own body, but refers to."""
_OF_FASTAPI: Final = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Makes the app's document this one. It is put together once, when it is first asked for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document["components"]["schemas"]
            schemas |= models_json_schema(_BESIDES, ref_template="#/components/schemas/{model}")[1]["$defs"]
            for name in _OF_FASTAPI:
                schemas.pop(name, None)
            for response in _error_responses(document):
                response["content"] = _REFERENCE
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _error_responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        response
        for path in document["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    ]
