"""The service does what its OpenAPI document says: accounts, sessions, health."""

from collections.abc import Mapping

import pytest
from fastapi import FastAPI

from . import test_books
from .examining import Examine, of_operations

GROUPS = (
    "register|requestVerification|verifyEmail",
    "login|logout|forgotPassword|resetPassword|isLive|isReady",
    "refresh|listSessions|endSession|endOtherSessions|createToken|listTokens|removeToken",
    "register|getMe|changeMe|listMyAudit|listAudit",
    "register|getUser|deleteUser",
    "register|listUsers|changeUser|createUser",
    "register|listAccess|endAccess|endOneAccess|startReset",
)


# Bodies are of up to a thousand books.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@of_operations(GROUPS, "^(?!/api/v1/books)")
def test_schemathesis_finds_nothing_in_the_other_operations(
    examine: Examine, examples: int, chosen: Mapping[str, str]
) -> None:
    report = examine(examples, "examples", "coverage", "fuzzing", **chosen)
    assert not report.findings
    assert not report.neglected


def test_no_operation_is_left_out(app: FastAPI) -> None:
    grouped = {operation for group in (*test_books.GROUPS, *GROUPS) for operation in group.split("|")}
    documented = [operation for path in app.openapi()["paths"].values() for operation in path.values()]
    assert grouped == {operation["operationId"] for operation in documented}
