import csv
from typing import Final

import pytest
from book_runtime.delimited.fields import Fields, Malformed
from hypothesis import given
from hypothesis import strategies as st

LINES: Final = st.text(st.sampled_from('a,;" \0é'), min_size=1)


def fields_of(*lines: str, delimiter: str = ",") -> Fields:
    fields = Fields(delimiter)
    for line in lines:
        fields.take(line, "\n")
    return fields


class Stepwise(Fields):
    def _at_once(self, text: str) -> None:
        return None


class TestALine:
    @given(line=LINES, delimiter=st.sampled_from([",", ";"]))
    def test_is_taken_apart_as_python_does(self, line: str, delimiter: str) -> None:
        try:
            fields = fields_of(line, delimiter=delimiter)
        except Malformed:
            with pytest.raises(csv.Error, match="expected after"):
                next(csv.reader([line], delimiter=delimiter, strict=True))
            return
        if fields.is_open:
            with pytest.raises(csv.Error, match="unexpected end of data"):
                next(csv.reader([line], delimiter=delimiter, strict=True))
        else:
            assert fields.complete == next(csv.reader([line], delimiter=delimiter, strict=True))

    @given(line=LINES)
    def test_is_the_same_at_once_and_step_by_step(self, line: str) -> None:
        stepwise, quick = Stepwise(","), Fields(",")
        try:
            quick.take(line, "\n")
        except Malformed:
            with pytest.raises(Malformed):
                stepwise.take(line, "\n")
        else:
            stepwise.take(line, "\n")
            assert (stepwise.complete, stepwise.is_open) == (quick.complete, quick.is_open)

    def test_may_have_fields_longer_than_the_csv_module_takes(self) -> None:
        long = "x" * 200_000
        assert fields_of(f'{long},"{long}"').complete == [long, long]


class TestSeveralLines:
    @given(lines=st.lists(LINES, min_size=1, max_size=5))
    def test_are_one_record_as_long_as_quotes_are_open(self, lines: list[str]) -> None:
        whole = csv.reader([f"{line}\n" for line in lines], strict=True)
        fields = Fields(",")
        for number, line in enumerate(lines, 1):
            try:
                fields.take(line, "\n")
            except Malformed:
                with pytest.raises(csv.Error):
                    next(whole)
                return
            if not fields.is_open:
                assert fields.complete == next(whole)
                assert whole.line_num == number
                return


class TestAFieldThatBeginsWithNoQuote:
    @pytest.mark.parametrize("line", ['5" of rain', 'a,b"', 'a"b,"c"'])
    def test_has_none_where_there_is_a_reason(self, line: str) -> None:
        assert not fields_of(line).is_open
        with pytest.raises(Malformed, match="for a reason"):
            Fields(",", why_strict="for a reason").take(line, "\n")

    def test_may_be_beside_one_in_quotes(self) -> None:
        strict = Fields(",", why_strict="for a reason")
        strict.take('a,"b ""c""",d', "\n")
        assert strict.complete == ["a", 'b "c"', "d"]
