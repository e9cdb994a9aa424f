"""Connecting: to several brokers behind one name, some of which do not answer, and until one is told to stop."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiormq
import pytest
from book_runtime.broker.amqp import AmqpPublisher, reconnecting
from book_runtime.broker.amqp.reconnecting import BrokerLost, close, connect, translate_stray_failures
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed
from support.ports import free_port
from support.waiting import patience, patiently, until
from yarl import URL

NAME = "brokers.test"


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the resolver find these ports of this machine under NAME, always in this order."""
    resolve = socket.getaddrinfo

    def give(*ports: int) -> None:
        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            if host != NAME:
                return resolve(host, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return give


def port_of(cable: Any) -> int:
    return int(URL(cable.url).port or 0)


@pytest.fixture
def url(amqp_url: str) -> str:
    """The test's virtual host, by the name."""
    return str(URL(amqp_url).with_host(NAME))


class TestSeveralBrokers:
    async def test_the_next_one_is_taken_where_nobody_listens(
        self, cable: Any, name: Callable[..., None], url: str
    ) -> None:
        name(free_port(), free_port(), free_port(), port_of(cable))
        async with AmqpPublisher(url, "books.events") as publisher:
            await patiently(publisher.ready(), "the publisher finds the broker")

    async def test_one_that_takes_connections_and_says_nothing_is_left_for_another(
        self,
        make_cable: Callable[..., Awaitable[Any]],
        name: Callable[..., None],
        url: str,
        a_message: Callable[..., Message],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(reconnecting, "_CLOSE_TIMEOUT_SECONDS", 0.05)
        cables = [await make_cable(), await make_cable()]
        name(*map(port_of, cables))
        async with AmqpPublisher(url, "books.events", confirm_timeout=0.05) as publisher:
            await patiently(publisher.ready(), "the publisher finds the first broker")
            frozen, other = sorted(cables, key=lambda each: each.connections, reverse=True)
            frozen.silence()
            with pytest.raises(NotConfirmed):
                await publisher.publish([a_message()])
            await until(lambda: other.connections and publisher.is_connected, "the publisher finds the other broker")
            assert (frozen.connections, other.connections) == (1, 1)
            frozen.resume()


class TestCancellation:
    async def test_one_that_comes_just_as_the_broker_answers_is_not_lost(
        self, amqp_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answered = aiormq.connect

        async def answered_and_cancelled(*arguments: Any, **options: Any) -> Any:
            connection = await answered(*arguments, **options)
            connecting.cancel()
            return connection

        async def connect_and_hold() -> None:
            connection = await connect(amqp_url, "tests")
            try:
                await asyncio.Event().wait()
            finally:
                await close(connection)

        monkeypatch.setattr(aiormq, "connect", answered_and_cancelled)
        connecting = asyncio.create_task(connect_and_hold())
        async with patience("the connecting ends"):
            await asyncio.wait([connecting])
        assert connecting.cancelled()


class TestStrayFailures:
    """What aiormq answers with where it knows no reason."""

    @pytest.mark.parametrize("failure", [Exception, asyncio.CancelledError], ids=["bare", "nobody-cancelled"])
    async def test_mean_that_the_broker_is_lost(self, failure: type[BaseException]) -> None:
        with pytest.raises(BrokerLost), translate_stray_failures():
            raise failure

    async def test_are_told_from_faults(self) -> None:
        with pytest.raises(KeyError), translate_stray_failures():
            raise KeyError("a fault of ours")
