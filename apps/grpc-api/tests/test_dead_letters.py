"""What an operator types about dead letters, on a real RabbitMQ."""

import asyncio
import io
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from book_contracts import events
from book_db.events.log import EventLog
from book_db.postgres.database import Database
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, DeadLetters
from book_runtime.broker.amqp.dead_letters import BrokerAway, DeadLettersLocked
from book_runtime.broker.amqp.topology import declare
from book_runtime.broker.messages import Message
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_CREATED, BookEvent
from books.v1.book_pb2 import Book, Date
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_api.consumer import BOOK_LOG, EventRecorder
from grpc_api.dead_letters.commands import commands
from support.preloaded import PreloadedCommands
from support.waiting import patience, patiently, until
from typer.testing import CliRunner, Result

Run = Callable[..., Awaitable[Result]]
RunToEnd = Callable[..., tuple[int, str, str]]
"""Gives the exit code, stdout and stderr."""

NOT_A_BOOK = b"\xff\xff"


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Somebody else's look at the broker, on which the queues of the log are declared."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, BOOK_LOG)
        yield channel


@pytest.fixture
def run(amqp_url: str) -> Run:
    """Runs the command, in this process: it starts sooner."""

    async def run(*arguments: str, url: str = amqp_url) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, commands, arguments, env={"AMQP_URL": url})

    return run


def command(program: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(program)), "dead-letters", *arguments]


def environment(url: str, folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "AMQP_URL": url}


def a_body(book_id: int = 42, version: int = 3) -> bytes:
    book = Book(id=book_id, title="t", author="a", version=version, publication_date=Date(year=1871, month=12, day=1))
    return BookEvent(
        id=str(uuid4()), kind=BOOK_EVENT_KIND_CREATED, actor=str(uuid4()), time=Timestamp(seconds=1), book=book
    ).SerializeToString()


async def put(channel: AbstractChannel, message_id: str, body: bytes = NOT_A_BOOK, **headers: str) -> None:
    """Puts a letter among the dead ones."""
    exchange = await channel.get_exchange(BOOK_LOG.dead_letter_exchange, ensure=False)
    told: aio_pika.abc.HeadersType = {f"x-{name}": value for name, value in headers.items()}
    told["x-time"] = datetime(2026, 11, 23, 18, 54, 23, tzinfo=UTC)
    await exchange.publish(aio_pika.Message(body, message_id=message_id, type=events.CREATED, headers=told), "")


async def put_many(channel: AbstractChannel, count: int, **headers: str) -> set[str]:
    """Puts so many letters among the dead ones, and returns their ids."""
    names = [f"event-{number}" for number in range(count)]
    for start in range(0, count, 100):
        await asyncio.gather(*(put(channel, name, NOT_A_BOOK, **headers) for name in names[start : start + 100]))
    return set(names)


@asynccontextmanager
async def started(program: str, *arguments: str, url: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own, which is gone at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *command(program, *arguments), env=environment(url, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            process.kill()
        await process.communicate()


async def waiting_in(channel: AbstractChannel, queue: str) -> int:
    found = await channel.declare_queue(queue, passive=True)
    return found.declaration_result.message_count or 0


async def becomes(channel: AbstractChannel, *, log: int | None = None, dead: int | None = None) -> None:
    """Waits until so many messages wait in the queue of the log, and among its dead letters."""

    async def is_so() -> bool:
        return log in {None, await waiting_in(channel, BOOK_LOG.queue)} and dead in {
            None,
            await waiting_in(channel, BOOK_LOG.dead_letter_queue),
        }

    await until(is_so, f"so many messages wait: {log} for the log, {dead} dead")


class TestList:
    async def test_tells_when_what_of_which_book_from_where_and_why(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1", a_body(), reason="no shelf is that long", queue="grpc-api.book-log")
        listed = await run("list")
        assert (listed.exit_code, listed.stderr) == (0, "")
        assert listed.stdout == (
            "2026-11-23 18:54:23Z  event-1  book.created  book 42 v3  from grpc-api.book-log  no shelf is that long\n"
        )
        assert await waiting_in(channel, BOOK_LOG.dead_letter_queue) == 1

    async def test_tells_less_of_what_cannot_be_read(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1")
        listed = await run("list")
        assert listed.stdout == "2026-11-23 18:54:23Z  event-1  book.created  from grpc-api.book-log\n"

    async def test_tells_the_stack_when_asked(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1", reason="a bug", exception="Traceback:\n  File x\nValueError: 1")
        assert "Traceback" not in (await run("list")).stdout
        assert (await run("list", "--stack")).stdout.splitlines()[1:] == [
            "    Traceback:",
            "      File x",
            "    ValueError: 1",
        ]

    async def test_lets_no_letter_write_a_line_of_its_own(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1", reason="a\nb\x1b[2J", queue="q\r", exception="\x1b]0;title\x07")
        listed = await run("list", "--stack")
        assert listed.stdout.splitlines()[0].endswith(r"from q\r  a\nb\x1b[2J")
        assert listed.stdout.splitlines()[1] == r"    \x1b]0;title\x07"

    async def test_says_so_when_there_are_none(self, run: Run, channel: AbstractChannel) -> None:
        listed = await run("list")
        assert (listed.exit_code, listed.stdout, listed.stderr) == (0, "", "There are no dead letters.\n")

    async def test_ends_quietly_when_its_reader_has_seen_enough(
        self, amqp_url: str, tmp_path: Path, channel: AbstractChannel
    ) -> None:
        await put_many(channel, 1_000, reason="x" * 1000)
        async with started("grpc-api", "list", url=amqp_url, folder=tmp_path) as process:
            assert process.stdout
            assert process.stderr
            assert b"event-0" in await patiently(process.stdout.readline(), "the first letter is listed")
            process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way to close a pipe
            said = await patiently(process.stderr.read(), "the program ends")
            assert await process.wait() == 1
        assert b"Traceback" not in said
        await becomes(channel, dead=1_000)


class TestReplay:
    async def test_brings_back_what_is_recorded_then(
        self, database_url: str, amqp_url: str, run: Run, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From the failure through the dead letters to the log."""
        console = io.StringIO()
        async with recording(database_url, amqp_url, console) as publisher:
            with monkeypatch.context() as broken:
                broken.setattr("grpc_api.consumer._refuse_nul", lambda *_: 1 / 0)
                await publisher.publish([a_message("event-1"), a_message("event-2")])
                await becomes(channel, dead=2)
            replayed = await run("replay", "--all")
            assert (replayed.exit_code, replayed.stdout, replayed.stderr) == (0, "2 sent again.\n", "")
            await until(lambda: console.getvalue().count("book.created") == 2, "both events are recorded")
        await becomes(channel, log=0, dead=0)

    async def test_sends_those_that_are_named(self, run: Run, channel: AbstractChannel) -> None:
        for name in ("event-1", "event-2", "event-3"):
            await put(channel, name)
        replayed = await run("replay", "event-1", "event-3")
        assert (replayed.exit_code, replayed.stdout) == (0, "2 sent again.\n")
        await becomes(channel, log=2, dead=1)
        assert "event-2" in (await run("list")).stdout

    async def test_says_which_of_them_are_not_there(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1")
        replayed = await run("replay", "event-1", "event-7")
        assert (replayed.exit_code, replayed.stdout) == (1, "1 sent again.\n")
        assert replayed.stderr == "event-7 is no dead letter.\n"

    async def test_goes_on_when_a_queue_does_not_take_one(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1", queue="nowhere")
        await put(channel, "event-2")
        replayed = await run("replay", "--all")
        assert (replayed.exit_code, replayed.stdout) == (1, "1 sent again.\n")
        assert replayed.stderr == (
            "The letter event-1 stays where it is, since nowhere did not take it: There is no such queue\n"
        )
        await becomes(channel, log=1, dead=1)

    @pytest.mark.parametrize("order", [signal.SIGKILL, signal.SIGINT], ids=lambda order: order.name)
    async def test_that_is_killed_midway_loses_nothing(
        self, amqp_url: str, tmp_path: Path, channel: AbstractChannel, order: signal.Signals
    ) -> None:
        names = await put_many(channel, 1_000)

        async def is_midway() -> bool:
            return await waiting_in(channel, BOOK_LOG.queue) >= 50

        async with started("grpc-api", "replay", "--all", url=amqp_url, folder=tmp_path) as process:
            await until(is_midway, "50 are sent again")
            process.send_signal(order)
            said, complaints = await patiently(process.communicate(), "the program ends")
        assert b"Traceback" not in said + complaints
        assert order is signal.SIGKILL or b" sent again." in said
        found: set[str] = set()

        async def all_are_found() -> bool:
            for queue in (BOOK_LOG.queue, BOOK_LOG.dead_letter_queue):
                found.update(await taken_from(channel, queue, await waiting_in(channel, queue)))
            return found == names

        await until(all_are_found, "each is found in one of the queues")

    async def test_of_two_at_a_time_is_refused(self, amqp_url: str, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1")
        async with DeadLetters.exclusive(amqp_url, BOOK_LOG):
            refused = await run("replay", "--all")
        assert (refused.exit_code, refused.stdout) == (1, "0 sent again.\n")
        assert isinstance(refused.exception, DeadLettersLocked)
        assert (await run("replay", "--all")).stdout == "1 sent again.\n"


class TestDrop:
    async def test_drops_the_named_letters(self, run: Run, channel: AbstractChannel) -> None:
        await put(channel, "event-1")
        await put(channel, "event-2")
        dropped = await run("drop", "event-1")
        assert (dropped.exit_code, dropped.stdout) == (0, "1 dropped.\n")
        await becomes(channel, log=0, dead=1)
        assert (await run("drop", "--all")).stdout == "1 dropped.\n"
        await becomes(channel, log=0, dead=0)


class TestAnOperatorWhoIsWrong:
    @pytest.mark.parametrize("what", ["replay", "drop"])
    @pytest.mark.parametrize(
        "arguments", [pytest.param((), id="neither"), pytest.param(("--all", "event-1"), id="both")]
    )
    async def test_must_name_letters_or_say_all(self, run: Run, what: str, arguments: tuple[str, ...]) -> None:
        refused = await run(what, *arguments)
        assert refused.exit_code == 2
        assert "name letters, or say --all" in refused.stderr

    async def test_hears_that_the_broker_does_not_know_them(self, run: Run, amqp_url: str) -> None:
        user = amqp_url.partition("://")[2].partition(":")[0]
        refused = await run("list", url=amqp_url.replace(user, "nobody", 1))
        assert isinstance(refused.exception, BrokerAway)
        assert "ACCESS_REFUSED" in str(refused.exception)


@pytest.mark.parametrize("program", ["grpc-api", "colophon"])
class TestBothPrograms:
    """That which is in the image, and that which people type."""

    @pytest.fixture
    def run(self, commands: PreloadedCommands, program: str, tmp_path: Path) -> RunToEnd:
        def run(*arguments: str, url: str) -> tuple[int, str, str]:
            done = commands.run(program, "dead-letters", *arguments, environment={"AMQP_URL": url}, folder=tmp_path)
            return done.returncode, done.stdout, done.stderr

        return run

    async def test_have_the_command(self, run: RunToEnd, amqp_url: str, channel: AbstractChannel) -> None:
        await put(channel, "event-1")
        await put(channel, "event-2")
        run = partial(run, url=amqp_url)
        code, listed, complaints = await asyncio.to_thread(run, "list")
        assert (code, listed.count("\n"), complaints) == (0, 2, "")
        assert await asyncio.to_thread(run, "replay", "event-1") == (0, "1 sent again.\n", "")
        assert await asyncio.to_thread(run, "drop", "--all") == (0, "1 dropped.\n", "")
        await becomes(channel, log=1, dead=0)

    async def test_say_in_a_sentence_what_an_operator_can_mend(
        self, run: RunToEnd, program: str, amqp_url: str, unused_tcp_port: int
    ) -> None:
        away, without_a_queue, without_a_broker = await asyncio.gather(
            asyncio.to_thread(run, "list", url=f"amqp://me:s3cret@127.0.0.1:{unused_tcp_port}/"),
            asyncio.to_thread(run, "list", url=amqp_url),
            asyncio.to_thread(run, "replay", "--all", url=""),
        )
        code, _, said = away
        assert (code, said.count("\n")) == (1, 1)
        assert said.startswith(f"{program}: The broker at 127.0.0.1:{unused_tcp_port} cannot be reached")
        assert "s3cret" not in said
        code, _, said = without_a_queue
        assert code == 1
        assert said.startswith(f"{program}: There is no queue grpc-api.book-log.dead-letters on this broker.")
        code, _, said = without_a_broker
        assert code == 2
        assert "AMQP_URL: is not set" in said
        assert "rest-api parked" in said


def a_message(message_id: str) -> Message:
    return Message(
        id=message_id,
        type=events.CREATED,
        routing_key=events.CREATED,
        body=a_body(),
        content_type=events.CONTENT_TYPE,
        timestamp=datetime.now(UTC),
    )


@asynccontextmanager
async def recording(database_url: str, amqp_url: str, console: io.StringIO) -> AsyncIterator[AmqpPublisher]:
    """The log of events at work, and a publisher to it."""
    database = Database.open(database_url)
    consumer = AmqpConsumer(amqp_url, replace(BOOK_LOG, attempts=1))
    try:
        async with (
            AmqpPublisher(amqp_url, events.EXCHANGE) as publisher,
            consumer.consuming(EventRecorder(EventLog(database), console)),
        ):
            await consumer.ready()
            await publisher.ready()
            yield publisher
    finally:
        await database.close()


async def taken_from(channel: AbstractChannel, queue: str, count: int) -> set[str]:
    """The ids of so many messages, which are gone then."""
    found = await channel.get_queue(queue)
    async with patience(f"{count} messages are taken from {queue}"), found.iterator(no_ack=True) as messages:
        return {(await anext(messages)).message_id or "" for _ in range(count)}
