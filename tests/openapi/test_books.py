"""The service does what its OpenAPI document says: books."""

from collections.abc import Mapping

import pytest

from .examining import Examine, of_operations

# Who wants books with who makes them.
GROUPS = (
    "createBook|getBook|deleteBook",
    "createBook|changeBook",
    "createBook|replaceBook",
    "createBooks|listBooks",
    "importBooks|exportBooks",
)


# Bodies are of up to a thousand books.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@of_operations(GROUPS, "^/api/v1/books")
def test_schemathesis_finds_nothing_in_the_operations_on_books(
    examine: Examine, examples: int, chosen: Mapping[str, str]
) -> None:
    report = examine(examples, "examples", "coverage", "fuzzing", **chosen)
    assert not report.findings
    assert not report.neglected
