"""The REST service, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Final

from book_db.accounts.audit_trail import AccountEvents
from book_db.books.exporting import Exports
from book_db.books.idempotency import IdempotencyKeys
from book_db.store import open_store
from book_runtime.places import Places
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from rest_api import client_address, cross_origin, docs_page, health, methods, openapi
from rest_api.body_limit import BodyLimit
from rest_api.books.endpoints import router as books
from rest_api.books.finding import Lists
from rest_api.books.finding import router as finding
from rest_api.books.paths import BOOKS_PATH
from rest_api.books.schemas import JSON_MAX_BYTES
from rest_api.books.streams.exporting import router as exporting
from rest_api.books.streams.importing import IMPORT_PATH
from rest_api.books.streams.importing import router as importing
from rest_api.fast_path import FastPath
from rest_api.head_method import HeadMethod
from rest_api.observed import Observed
from rest_api.problems import translation
from rest_api.security_headers import SecurityHeaders, headers_for
from rest_api.settings import RestSettings
from rest_api.users.audit import router as audit
from rest_api.users.endpoints import router as users
from rest_api.users.keys import verifier_of
from rest_api.users.oauth.access_log import leave_codes_out
from rest_api.users.oauth.endpoints import router_for as sign_in_with
from rest_api.users.oauth.providers import registered
from rest_api.users.oauth.sign_in import open_sign_ins
from rest_api.users.pages import router as account_pages
from rest_api.users.rate_counter import RateCounter
from rest_api.users.rate_limits import RateLimits
from rest_api.users.services import open_account_services
from rest_api.users.sign_in import router as sign_in
from rest_api.users.signing import derived_secret
from rest_api.users.trail import Trail

_DESCRIPTION: Final = """
A catalogue of books. Sign in with **Authorize**, then try any operation.

Errors are problem documents (RFC 9457). Every change of a book is also an event on the broker, and every book
can be read over gRPC.
"""


def create_app(settings: RestSettings) -> FastAPI:
    """The service with these settings. It opens its stores when it starts and closes them when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        private_key = settings.jwt_private_key_file.read_bytes()
        async with open_store(settings, verifier_of(settings.jwt_private_key_file), name="rest-api") as store:
            app.state.store = store
            app.state.lists = Lists(store.catalogue)
            app.state.account_events = AccountEvents(store.database)
            app.state.imports = Places(settings.max_imports)
            app.state.exports = Exports(settings.database_url, at_once=settings.max_exports)
            async with (
                open_account_services(store, private_key, settings) as app.state.account_services,
                open_sign_ins(app.state.account_services, private_key, settings) as app.state.sign_ins,
                RateCounter.open(settings.redis_url) as counter,
                IdempotencyKeys(store.database).kept_swept(),
                app.state.account_events.kept_swept(settings.audit_days),
            ):
                app.state.rate_limits = RateLimits(settings, counter, derived_secret(private_key, "rate limits"))
                yield

    if providers := tuple(registered(settings)):
        leave_codes_out()
    app = FastAPI(
        title="Colophon",
        version=version("rest-api"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Observed does it. FastAPI's own would be a second span for each write, and a fifth of the time of a read.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        routes=_routes(providers),
    )
    app.state.require_if_match = settings.require_if_match
    methods.install(app)
    app.add_middleware(Trail)
    app.add_middleware(BodyLimit, max_bytes=_longest_body(settings))
    translation.install(app)
    docs_page.install(app)
    openapi.install(app)
    _wrap(app, settings)
    return app


@cache
def _routes(providers: tuple[str, ...]) -> list[BaseRoute]:
    """All operations, with these providers to sign in with. They find what they work on in the app's state, and every
    app of a process has the same: FastAPI takes 20 ms to work out what they take and give, and keeps it.
    """
    api = APIRouter()
    # Each on the app itself, and what is asked for most first: routers are gone through one by one, those within others
    # at every level.
    for router in (finding, exporting, importing, books, sign_in, sign_in_with(providers), audit, users):
        api.include_router(router, prefix="/api/v1")
    api.include_router(account_pages)
    api.include_router(health.router)
    return api.routes


_MAX_BYTES_ELSE: Final = 64 * 1_024
"""E-mail addresses, passwords, tokens. Faults of a body are told field by field: a few megabytes of unknown fields,
which anybody can send, would block the event loop for a second.
"""


def _longest_body(settings: RestSettings) -> Callable[[str], int]:
    book, other = (min(settings.max_body_bytes, most) for most in (JSON_MAX_BYTES, _MAX_BYTES_ELSE))
    many = {f"{BOOKS_PATH}/batch": settings.max_body_bytes, IMPORT_PATH: settings.max_import_bytes}

    def longest(path: str) -> int:
        return many.get(path) or (book if path.startswith(BOOKS_PATH) else other)

    return longest


def _wrap(app: FastAPI, settings: RestSettings) -> None:
    """Wraps the app in what every answer needs, that to a failure too, and within that in the fast path. Starlette
    answers a failure outside of the middleware that `add_middleware` adds.
    """
    build = app.build_middleware_stack

    def wrapped() -> ASGIApp:
        fast = HeadMethod(Observed(FastPath(build(), app)))
        open_to_others = cross_origin.open_to(settings.cors_origins, fast)
        with_headers = SecurityHeaders(open_to_others, headers_for(settings.public_url))
        return client_address.behind(settings.trusted_proxies, with_headers)

    app.build_middleware_stack = wrapped  # type: ignore[method-assign]  # as add_middleware, one step further out
