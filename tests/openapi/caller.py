"""The account in whose name Schemathesis calls."""

from typing import Any
from uuid import uuid4

import psycopg
import requests
from fastapi import FastAPI
from schemathesis import AuthContext, Case, HookContext, Response
from schemathesis.python import asgi
from schemathesis.specs.openapi.schemas import OpenApiSchema
from support.people import PASSWORD


class Caller:
    """A superuser, and a new one whenever an operation has ended the session or the rights of the last."""

    def __init__(self, app: FastAPI, database_url: str) -> None:
        self._client = asgi.get_client(app)  # type: ignore[arg-type]  # its ASGI is in terms of dict, not of MutableMapping
        self._database_url = database_url
        self._token = ""
        self._made_with: dict[str, str] = {}

    @property
    def token(self) -> str:
        if not self._token:
            self._token = self._sign_in()
        return self._token

    def is_of_another(self, case: Case[Any]) -> bool:
        """Whether a caller who has been followed by a new one had made for themselves what the case asks for."""
        made_with = {self._made_with.get(str(value)) for value in (case.path_parameters or {}).values()} - {None}
        return bool(made_with) and case.headers["Authorization"] not in made_with

    def look_after(self, case: Case[Any], response: Response) -> None:
        """To be told of every call: what changes accounts may have changed the caller's."""
        if case.path.startswith("/api/v1/users/me/") and response.status_code == 201:
            self._made_with[response.json()["id"]] = case.headers["Authorization"]
        if case.operation.definition.raw["operationId"] == "changeMe" and response.status_code < 300:
            # Signed in still, but no more with the same password.
            self._token = ""
        changes_accounts = case.method != "GET" and not case.path.startswith("/api/v1/books")
        if self._token and (response.status_code == 401 or (changes_accounts and response.status_code < 300)):
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = self._client.get("/api/v1/users/me", headers=headers)
            if answer.status_code != 200 or not answer.json()["is_superuser"]:
                self._token = ""

    def _sign_in(self) -> str:
        email = f"{uuid4().hex}@example.org"
        self._post("register", json={"email": email, "password": PASSWORD})
        with psycopg.connect(self._database_url) as connection:
            connection.execute("UPDATE users SET is_superuser = true WHERE email = %s", [email])
        answer = self._post("login", data={"username": email, "password": PASSWORD})
        return str(answer.json()["access_token"])

    def _post(self, name: str, **body: object) -> requests.Response:
        answer = self._client.post(f"/api/v1/auth/{name}", **body)  # type: ignore[arg-type]  # what requests takes
        assert answer.ok, answer.text
        return answer


def sign_in_as(caller: Caller, schema: OpenApiSchema) -> None:
    # Not cached: the caller knows itself when its token is good no more.
    @schema.auth(refresh_interval=None)
    class Authorization:
        def get(self, case: Case[Any], context: AuthContext) -> str:
            return caller.token

        def set(self, case: Case[Any], token: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {token}"
            if isinstance(case.body, dict) and case.meta and case.meta.generation.mode.is_positive:
                case.body.update({name: PASSWORD for name in case.body if name == "current_password"})

    @schema.hook
    def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
        caller.look_after(case, response)
