"""Swagger UI at /docs, its files served by the app itself: a closed network shows the same page.

The page may run its own files and the one script that stands in it, and talk to nobody but this service: what somebody
smuggles into a description does nothing.
"""

import base64
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_INLINE_SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_FILES: Final = Path(fastapi_offline.__file__).with_name("static")


def install(app: FastAPI) -> None:
    """Serves the page and its files."""
    app.mount("/docs/files", StaticFiles(directory=_FILES), name="docs_files")
    app.include_router(_router(app))


def _router(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs", name="docs")
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=f"{app.title} - Swagger UI",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url="/docs/files/favicon.png",
            swagger_ui_parameters={
                # In the storage of a browser the password and the refresh token would outlive it.
                "persistAuthorization": False,
                "tryItOutEnabled": True,
                "displayRequestDuration": True,
            },
        )
        page.headers["Content-Security-Policy"] = _policy(bytes(page.body))
        return page

    return router


def _policy(page: bytes) -> str:
    scripts = " ".join(_source(script) for script in _INLINE_SCRIPT.findall(page))
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _source(script: bytes) -> str:
    """A script as a policy names it (CSP level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(sha256(script).digest()).decode()}'"
