"""The two pages that the links in mails open, with their own files and nothing from elsewhere."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

router = APIRouter(prefix="/account", include_in_schema=False)

_HEADERS: Final = {
    # Own files only, and no frame around: a page on which passwords are typed.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_FILES: Final = {
    "/verify": ("verify.html", "text/html"),
    "/reset-password": ("reset-password.html", "text/html"),
    "/files/account.css": ("account.css", "text/css"),
    "/files/account.js": ("account.js", "text/javascript"),
}


def _serve(path: str, name: str, media_type: str) -> None:
    content = files("rest_api.users").joinpath("account_pages", name).read_bytes()

    @router.get(path, name=f"account_{name}")
    async def page() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)


for _path, (_name, _media_type) in _FILES.items():
    _serve(_path, _name, _media_type)
