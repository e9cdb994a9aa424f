"""The service does what its OpenAPI document says: accounts, sessions, health."""

import pytest

from .conftest import Examine


# Bodies are of up to a thousand books.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_schemathesis_finds_nothing_in_the_other_operations(examine: Examine) -> None:
    report = examine("examples", "coverage", "fuzzing", path_regex="^(?!/api/v1/books)")
    assert not report.findings
    assert not report.neglected
