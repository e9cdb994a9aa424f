"""Schemathesis on the service: in this process, where Argon2 can be made quick, and on a real PostgreSQL."""

import csv
import io
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
import requests
import schemathesis
from argon2.profiles import CHEAPEST
from book_runtime.settings import load
from fastapi import FastAPI
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users import passwords
from rest_api.users.addresses import MAX_LENGTH, normalised
from rest_api.users.keys import make_key_pair
from schemathesis import AuthContext, BaseSchema, Case, HookContext, Response
from schemathesis.checks import CHECKS
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.jsonschema import make_validator
from schemathesis.core.result import Ok
from schemathesis.engine import Status, events, from_schema
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData
from schemathesis.python import asgi
from schemathesis.specs.openapi.schemas import OpenApiSchema
from support.people import PASSWORD

FEW, MANY = 50, 200
"""Examples for each operation, or sequences of operations."""


def of_operations(groups: tuple[str, ...], path_regex: str) -> pytest.MarkDecorator:
    """A few examples for one group after the other, each given as `one|another`; many for all on these paths."""
    return pytest.mark.parametrize(
        ("examples", "chosen"),
        [
            *(pytest.param(FEW, {"operation_id_regex": f"^({group})$"}, id=group) for group in groups),
            pytest.param(MANY, {"path_regex": path_regex}, id="all", marks=pytest.mark.slow),
        ],
    )


class Excuse(NamedTuple):
    """Why some operations may refuse what is valid by their schema: for these causes and no other."""

    operations: tuple[str, ...]
    problem: str
    causes: tuple[str, ...] = ()
    """Parameters that are to blame, or what is said of the parameter or the part of the body that is."""

    def covers(self, case: Case[Any], response: Response) -> bool:
        problem = response.json()
        return (
            case.operation.definition.raw["operationId"] in self.operations
            and problem["type"] == f"urn:colophon:{self.problem}"
            and all({error.get("parameter"), error["detail"]} & set(self.causes) for error in problem.get("errors", []))
        )


# What no schema can say of one value, as it depends on others or on what was before.
EXCUSES = (
    # A page token is good if the service gave it, a last day if it is not before the first, a question if Unicode finds
    # a word in it.
    Excuse(("listBooks", "exportBooks"), "invalid", ("page_token", "published_to", "q")),
    Excuse(("listUsers",), "invalid", ("page_token",)),
    # Which characters show nothing, Unicode says.
    Excuse(
        ("createBook", "createBooks", "replaceBook", "changeBook", "createToken", "listBooks", "exportBooks"),
        "invalid",
        ("must not be blank",),
    ),
    # A list of common passwords is no pattern.
    Excuse(
        ("register", "resetPassword", "changeMe", "changeUser"),
        "invalid",
        (
            "must not be blank",
            "must not be a short piece again and again",
            "must not be one that many people have",
        ),
    ),
    # A new password is good if it is another one; whoever is the last superuser stays it.
    Excuse(("changeMe",), "invalid", ("must not be the one that it is",)),
    Excuse(("changeUser", "deleteUser"), "last-superuser"),
    # A key is good if no other request had it.
    Excuse(("createBook", "createBooks", "importBooks"), "idempotency-key-reused"),
    # A condition holds or not, by the book's version.
    Excuse(("getBook", "replaceBook", "changeBook", "deleteBook"), "precondition-failed"),
    # These tokens are good if they were given or mailed, and not used.
    Excuse(("refresh",), "bad-refresh-token"),
    Excuse(("resetPassword",), "bad-reset-link"),
    Excuse(("verifyEmail",), "bad-verification-link"),
)


@pytest.fixture(scope="session", autouse=True)
def what_schemathesis_cannot_know() -> None:
    """The format `email` allows hosts that no mail can reach, which the service does not. Streams have lines."""
    # Chance makes none of these lengths, and searches for long.
    long = st.sampled_from([_an_address_of(length) for length in (MAX_LENGTH - 1, MAX_LENGTH, MAX_LENGTH + 1)])
    schemathesis.openapi.format("email", st.emails().filter(_is_taken) | long)
    books = st.lists(
        st.fixed_dictionaries({"title": st.text(), "author": st.text(), "publication_date": st.dates().map(str)}),
        max_size=5,
    )
    ndjson = books.map(lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    *ndjsons, csv_ = _STREAMS
    for media_type in ndjsons:
        schemathesis.openapi.media_type(media_type, ndjson)
    schemathesis.openapi.media_type(csv_, books.map(_csv))


_MAILBOX = make_validator({"type": "string", "format": "email"}, Draft202012Validator)
_STREAMS = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/csv")


def _csv(books: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["title", "author", "publication_date"])
    writer.writeheader()
    writer.writerows(books)
    return text.getvalue().encode()


def _an_address_of(length: int) -> str:
    return ("ada@" + f"{'x' * 60}." * 6)[: length - 8] + ".example"


def _is_taken(address: str) -> bool:
    if not _MAILBOX.is_valid(address):
        return False
    try:
        normalised(address)
    except ValueError:
        return False
    return True


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The service, started by the first request. Its hashes take a millisecond, as they are not what is examined."""
    monkeypatch.setattr(passwords, "COST", CHEAPEST)
    make_key_pair(tmp_path / "private.pem", tmp_path / "public.pem")
    yield create_app(
        load(
            RestSettings,
            database_url=database_url,
            jwt_private_key_file=tmp_path / "private.pem",
            redis_url=None,
            rate_limits="off",
        )
    )
    asgi.shutdown_lifespans()


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


@dataclass
class Report:
    """What Schemathesis did and found."""

    examples: int
    """So many are wanted of each operation, or so many sequences."""
    cases: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    sequences: int = 0
    inputs: Counter[str] = field(default_factory=Counter)
    """What the fuzzing phase sent to each operation that takes anything."""

    def take(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.ScenarioFinished):
            self.sequences += event.phase.value == "stateful" and event.status != Status.SKIP
            self._count(event)
            self._gather(event)
        elif isinstance(event, events.NonFatalError):
            self.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception

    @property
    def findings(self) -> str:
        """All that went wrong, each failure with its message, a way to see it again, and the answer."""
        return "\n\n".join([*self.errors, *(f"{name}\n{text}" for name, text in self.failures.items())])

    @property
    def neglected(self) -> list[str]:
        """Operations that were sent fewer examples than they should."""
        return [operation for operation, count in self.inputs.items() if count < self.examples]

    def show(self) -> None:
        for operation, cases in sorted(self.cases.items()):
            answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.answers[operation].items()))
            print(f"{operation:<24}{cases:>6} cases    {answers}")
        print(f"{'total':<24}{self.cases.total():>6} cases, {self.sequences} sequences, {len(self.failures)} failures")
        print(self.findings)

    def _count(self, event: events.ScenarioFinished) -> None:
        for identity, interaction in event.recorder.interactions.items():
            operation = event.recorder.cases[identity].value.operation.definition.raw["operationId"]
            self.cases[operation] += 1
            if operation in self.inputs and event.phase.value == "fuzzing":
                self.inputs[operation] += 1
            if interaction.response is not None:
                self.answers.setdefault(operation, Counter())[interaction.response.status_code] += 1

    def _gather(self, event: events.ScenarioFinished) -> None:
        for identity, checks in event.recorder.checks.items():
            for check in checks:
                if check.status == Status.FAILURE and check.failure_info is not None:
                    failure = check.failure_info.failure
                    response = event.recorder.interactions[identity].response
                    said = "" if response is None else f"{response.status_code} {response.content[:1000]!r}"
                    self.failures.setdefault(
                        f"{failure.operation} {check.name}: {failure.title}",
                        f"{failure.message}\n{check.failure_info.code_sample}\n{said}",
                    )


Examine = Callable[..., Report]
"""Runs some phases of Schemathesis on the operations that are chosen by one of its filters, or on all."""


@pytest.fixture
def examine(app: FastAPI, database_url: str, pytestconfig: pytest.Config) -> Examine:
    seed = _seed(pytestconfig)

    def run(report: Report, phases: tuple[str, ...], chosen: Mapping[str, Any], seed: int | None, reuse: bool) -> None:
        config = _config(seed, phases, report.examples, reuse=reuse)
        schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=config)
        _keep_examples_of_streams_back(schema)
        caller = Caller(app, database_url)
        _sign_in_as(caller, schema)
        _excuse(schema, caller)
        examined = schema.include(**chosen) if chosen else schema
        report.inputs.update(dict.fromkeys(_taking_anything(examined), 0))
        for event in from_schema(examined).execute():
            report.take(event)

    def examine(examples: int, *phases: str, part: int = 1, **chosen: str) -> Report:
        report = Report(examples)
        first = seed if part == 1 else (seed or 0) + 1_000 * part
        run(report, phases, chosen, first, reuse=True)
        # Where there is memory, what is done again goes another way, at which Hypothesis ends a run before its time: so
        # another sequence follows, and more examples that do not depend on the answers to others.
        if "fuzzing" in phases and report.neglected:
            run(report, ("fuzzing",), {"operation_id": report.neglected}, seed, reuse=False)
        for each in itertools.count((first or 0) + 1):
            if "stateful" not in phases or report.findings or report.sequences >= examples:
                break
            run(report, phases, chosen, each, reuse=True)
        report.show()
        return report

    return examine


def _taking_anything(schema: BaseSchema) -> Iterator[str]:
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok().definition.raw
        if operation.get("parameters") or "requestBody" in operation:
            yield operation["operationId"]


def _config(seed: int | None, phases: tuple[str, ...], examples: int, *, reuse: bool) -> schemathesis.Config:
    every_check = {name: {"enabled": True} for name in CHECKS.get_all_names()}
    every_phase = ("examples", "coverage", "fuzzing", "stateful")
    return schemathesis.Config.from_dict(
        {
            **({} if seed is None else {"seed": seed}),
            "generation": {"max-examples": examples, "deterministic": seed is None, "database": "none"},
            "checks": every_check,
            "phases": {name: {"enabled": name in phases} for name in every_phase}
            | ({} if reuse else {"fuzzing": {"extra-data-sources": {"responses": False}}}),
            # Headers and bodies as they were sent: nothing here is secret.
            "output": {"sanitization": {"enabled": False}},
        }
    )


def _seed(pytestconfig: pytest.Config) -> int | None:
    """The seed of `pytest --hypothesis-seed=...`; without one, every run does the same."""
    asked = pytestconfig.getoption("--hypothesis-seed")
    if asked is None:
        return None
    seed = random.getrandbits(32) if asked == "random" else int(asked)
    print(f"To do the same again: --hypothesis-seed={seed}")
    return seed


def _keep_examples_of_streams_back(schema: OpenApiSchema) -> None:
    # Of a media type that has a strategy Schemathesis takes nothing but bytes, which no document can hold.
    for media_type in schema.raw_schema["paths"]["/api/v1/books/import"]["post"]["requestBody"]["content"].values():
        media_type.pop("example", None)
        media_type.pop("examples", None)
        media_type["schema"].pop("examples", None)


def _sign_in_as(caller: Caller, schema: OpenApiSchema) -> None:
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


def _excuse(schema: OpenApiSchema, caller: Caller) -> None:
    @schema.hook
    def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
        match failure:
            case RejectedPositiveData():
                excused = any(excuse.covers(case, response) for excuse in EXCUSES)
                return not excused and not _is_mislabelled(case)
            case EnsureResourceAvailability():
                return not caller.is_of_another(case)
            case AcceptedNegativeData():
                return not _is_valid_once_trimmed(case)
        return True


def _is_mislabelled(case: Case[Any]) -> bool:
    """Whether Schemathesis takes for valid a header that is not, by its own judgement.

    Its coverage phase writes no quotes into headers, so for entity tags it finds no valid value. It then combines the
    first invalid one with the others as if it were valid.
    """
    declared = {name: case.operation.headers.get(name) for name in case.headers}
    return any(
        parameter is not None and not parameter.get_validator().is_valid(case.headers[name])
        for name, parameter in declared.items()
    )


def _is_valid_once_trimmed(case: Case[Any]) -> bool:
    """Whether a body is valid but for blanks around its texts, which are not counted, or is valid as it is.

    JSON Schema cannot say the one; that lengths have bounds is worth more to a reader. The other comes of mutations of
    Schemathesis that miss.
    """
    body = case.operation.get_body_for_media_type(case.media_type) if case.media_type else None
    return body is not None and make_validator(body.optimized_schema, Draft202012Validator).is_valid(
        _trimmed(case.body)
    )


def _trimmed(value: object) -> object:
    match value:
        case str():
            return value.strip()
        case list():
            return [_trimmed(each) for each in value]
        case dict():
            return {name: _trimmed(each) for name, each in value.items()}
    return value
