"""Failures that Schemathesis reports and that are none, each for a cause that no schema can say."""

from typing import Any, Final, NamedTuple

from jsonschema_rs import Draft202012Validator
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.jsonschema import make_validator
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData
from schemathesis.specs.openapi.schemas import OpenApiSchema

from .caller import Caller


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
EXCUSES: Final = (
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


def ignore_excused_failures(schema: OpenApiSchema, caller: Caller) -> None:
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
