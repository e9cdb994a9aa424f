"""The messages of the port's errors."""

from collections.abc import Callable

import pytest
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import (
    AlreadyConsuming,
    BrokerError,
    NotConfirmed,
    TryAgainLater,
    Undeliverable,
)


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            pytest.param(
                NotConfirmed({"a": "no queue", "b": "waits behind a"}),
                "2 of the messages were not confirmed, the first of them a: no queue",
                id="not-confirmed",
            ),
            pytest.param(
                NotConfirmed({"{a}": "{b}"}),
                "1 of the messages were not confirmed, the first of them {a}: {b}",
                id="braces-are-only-text",
            ),
            pytest.param(
                Undeliverable("no such kind"), "The message can never be handled: no such kind", id="undeliverable"
            ),
            pytest.param(
                TryAgainLater("no database"), "Nothing can be handled at the moment: no database", id="try-again"
            ),
            pytest.param(AlreadyConsuming(), "This consumer has a handler already.", id="already-consuming"),
        ],
    )
    def test_the_docstring_is_the_message(self, error: BrokerError, said: str) -> None:
        assert str(error) == said

    def test_undeliverable_knows_the_message(self, a_message: Callable[..., Message]) -> None:
        message = a_message()
        assert Undeliverable("no such kind", message).message is message

    def test_not_confirmed_knows_the_ids(self) -> None:
        assert NotConfirmed({"a": "lost", "b": "lost"}).ids == {"a", "b"}
