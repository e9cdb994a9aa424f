"""The service does what its OpenAPI document says: the links from one operation to the next."""

import pytest

from .conftest import EXAMPLES, Examine


# Bodies are of up to a thousand books.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_schemathesis_finds_nothing_in_sequences_of_operations(examine: Examine) -> None:
    report = examine("stateful")
    assert not report.findings
    assert report.sequences >= EXAMPLES
