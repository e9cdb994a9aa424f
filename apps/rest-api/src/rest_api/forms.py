"""Forms, as OAuth 2.0 has them (RFC 6749, appendix B)."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rest_api.codings import refuse_coded
from rest_api.fields import fields_of
from rest_api.guard import FIELDS_MAX

_URLENCODED: Final = "application/x-www-form-urlencoded"


class FormRoute(APIRoute):
    """A route for everybody, whose body is a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_form(request: Request) -> Response:
            refuse_coded(request)
            if _media_type_of(request) == _URLENCODED:
                # Before FastAPI does: of whatever it meets there, it says that the body cannot be read.
                request = _FormRequest(request, await _form_of(request))
            return await handle(request)

        return handle_form


class _FormRequest(Request):
    """A request whose form has been read."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.scope, request.receive)
        self._read = form

    async def form(self, **_: Any) -> FormData:  # type: ignore[override]  # FastAPI awaits it, and does nothing else
        return self._read


async def _form_of(request: Request) -> FormData:
    """Raises RequestValidationError where it is not UTF-8, HTTPException where it has too many fields or is cut off."""
    try:
        body = await request.body()
    except ClientDisconnect as gone:
        raise HTTPException(400) from gone
    if body.count(b"&") >= FIELDS_MAX:
        raise HTTPException(422, f"The body must have at most {FIELDS_MAX} fields.")
    fields: list[tuple[str, str | UploadFile]] = [*fields_of(body, "body")]
    return FormData(fields)


def _media_type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
