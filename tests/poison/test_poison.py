"""The log cannot be poisoned: whatever is on its queue, all good events are in the log."""

import pytest
from poison.between import outcome_of, passage, through
from poison.strange import HARD_ONES


class TestTheLog:
    async def test_what_was_found_hard_is_set_aside_alone_and_as_it_was(self, database_url: str, amqp_url: str) -> None:
        async with passage(database_url, amqp_url) as way:
            await way.send(list(HARD_ONES.values()))
            assert way.refused == 0
            print(await outcome_of(way))

    @pytest.mark.parametrize("batches", [20, pytest.param(500, marks=pytest.mark.slow)])
    async def test_nothing_that_a_stranger_sends_costs_a_good_event(
        self, database_url: str, amqp_url: str, batches: int
    ) -> None:
        async with passage(database_url, amqp_url) as way:
            await through(way, batches)
            print(await outcome_of(way))
