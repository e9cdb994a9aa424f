"""The service does what its OpenAPI document says: the links from one operation to the next."""

import pytest

from .examining import FEW, MANY, Examine


# Bodies are of up to a thousand books.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize(
    ("part", "sequences"),
    [*((part, FEW // 4 + 1) for part in (1, 2, 3, 4)), pytest.param(1, MANY, marks=pytest.mark.slow)],
)
def test_schemathesis_finds_nothing_in_sequences_of_operations(examine: Examine, part: int, sequences: int) -> None:
    report = examine(sequences, "stateful", part=part)
    assert not report.findings
    assert report.sequences >= sequences
