"""Schemathesis on the service: in this process, where Argon2 can be made quick, and on a real PostgreSQL."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis import BaseSchema
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from schemathesis.engine import Status, events, from_schema
from schemathesis.specs.openapi.schemas import OpenApiSchema

from .caller import Caller, sign_in_as
from .excuses import ignore_excused_failures

FEW: Final = 50
MANY: Final = 200
"""Examples for each operation, or sequences of operations: in a short run and in a long one."""


def of_operations(groups: tuple[str, ...], path_regex: str) -> pytest.MarkDecorator:
    """A few examples for one group after the other, each given as `one|another`; many for all on these paths."""
    return pytest.mark.parametrize(
        ("examples", "chosen"),
        [
            *(pytest.param(FEW, {"operation_id_regex": f"^({group})$"}, id=group) for group in groups),
            pytest.param(MANY, {"path_regex": path_regex}, id="all", marks=pytest.mark.slow),
        ],
    )


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


@dataclass(frozen=True)
class Examiner:
    """Runs Schemathesis on the service."""

    app: FastAPI
    database_url: str
    seed: int | None
    """None for what is the same in every run."""

    def examine(self, examples: int, *phases: str, part: int = 1, **chosen: str) -> Report:
        """Runs some phases on the operations that are chosen by one of its filters, or on all."""
        report = Report(examples)
        first = self.seed if part == 1 else (self.seed or 0) + 1_000 * part
        self._run(report, phases, chosen, first)
        # Where there is memory, what is done again goes another way, at which Hypothesis ends a run before its time: so
        # another sequence follows, and more examples that do not depend on the answers to others.
        if "fuzzing" in phases and report.neglected:
            self._run(report, ("fuzzing",), {"operation_id": report.neglected}, self.seed, reuse=False)
        for each in itertools.count((first or 0) + 1):
            if "stateful" not in phases or report.findings or report.sequences >= examples:
                break
            self._run(report, phases, chosen, each)
        report.show()
        return report

    def _run(
        self,
        report: Report,
        phases: tuple[str, ...],
        chosen: Mapping[str, Any],
        seed: int | None,
        *,
        reuse: bool = True,
    ) -> None:
        config = _config(seed, phases, report.examples, reuse=reuse)
        schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", self.app, config=config)
        _keep_examples_of_streams_back(schema)
        caller = Caller(self.app, self.database_url)
        sign_in_as(caller, schema)
        ignore_excused_failures(schema, caller)
        examined = schema.include(**chosen) if chosen else schema
        report.inputs.update(dict.fromkeys(_taking_anything(examined), 0))
        for event in from_schema(examined).execute():
            report.take(event)


Examine = Callable[..., Report]
"""`Examiner.examine`, which the fixture of that name gives."""


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


def _keep_examples_of_streams_back(schema: OpenApiSchema) -> None:
    # Of a media type that has a strategy Schemathesis takes nothing but bytes, which no document can hold.
    for media_type in schema.raw_schema["paths"]["/api/v1/books/import"]["post"]["requestBody"]["content"].values():
        media_type.pop("example", None)
        media_type.pop("examples", None)
        media_type["schema"].pop("examples", None)
