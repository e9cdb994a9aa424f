"""What an address takes, and what it says to a method that it does not take."""

from collections.abc import Collection
from functools import cached_property
from re import Pattern
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Receive, Scope, Send

from rest_api.problems.document import not_allowed


def install(app: FastAPI) -> None:
    """Lets every 405 of the app name all methods of the address. To be called before other middleware is added."""
    addresses = Addresses(app)
    app.add_middleware(FixedFirst, addresses=addresses)

    async def refuse(request: Request, _: Exception) -> Response:
        return not_allowed(addresses.methods_of(request.url.path))

    app.add_exception_handler(405, refuse)


class Addresses:
    """The addresses of an app and their methods, gathered when the first request comes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def methods_of(self, path: str) -> list[str]:
        """Those of a fixed address, or of the first one with parameters that this path can be."""
        if fixed := self.fixed.get(path):
            return fixed
        return next((each.methods for each in self._routed if each.takes(path)), [])

    @cached_property
    def fixed(self) -> dict[str, list[str]]:
        """The methods of each address without parameters."""
        return {each.path: each.methods for each in self._routed if "{" not in each.path}

    @cached_property
    def _routed(self) -> list["_Address"]:
        methods: dict[str, set[str]] = {}
        patterns = {}
        for route in iter_route_contexts(self._app.routes):
            if route.path is not None and route.methods:
                methods.setdefault(route.path, set()).update(route.methods)
                patterns[route.path] = route.path_regex
        return [_Address(path, patterns[path], _with_head(found)) for path, found in methods.items()]


def _with_head(methods: Collection[str]) -> list[str]:
    """Where GET is, HEAD is (`head_method.py`)."""
    return sorted({*methods, "HEAD"} if "GET" in methods else methods)


class _Address(NamedTuple):
    path: str
    pattern: Pattern[str]
    methods: list[str]

    def takes(self, path: str) -> bool:
        return self.pattern.match(path) is not None


class FixedFirst:
    """ASGI middleware: refuses a method that a fixed address does not take.

    The router would go on looking: to PUT /books/batch it would find PUT /books/{book_id}, and call "batch" no number.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._addresses.fixed.get(scope["path"]) if scope["type"] == "http" else None
        if methods and scope["method"] not in methods:
            await not_allowed(methods)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
