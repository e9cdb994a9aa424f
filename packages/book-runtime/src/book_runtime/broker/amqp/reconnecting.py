"""A connection to the broker that reconnects.

aio-pika's own robust connection is not used: it restores channels without the knowledge of those who hold deliveries of
the dead one, logs each attempt, and abandons a channel that could not be restored. Here any loss (of the connection,
the channel, the consumer, or a broker that stopped confirming) ends the session, and the next one declares everything
anew.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Generic, TypeVar

import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from yarl import URL

from book_runtime.broker import metrics
from book_runtime.broker.amqp.alarm import Alarm
from book_runtime.broker.amqp.brokers import Brokers, Connection
from book_runtime.broker.amqp.pauses import Pauses
from book_runtime.outage import Outage
from book_runtime.retry import Failure, retry

logger = structlog.get_logger(__name__)

S = TypeVar("S")

_HEARTBEAT_SECONDS: Final = 15
"""Unless the address says `?heartbeat=`. A broker that is silent for about three times as long is given up."""

_CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""To connect, and then again to set up the session."""

_CLOSE_TIMEOUT_SECONDS: Final = 5.0

_STABLE_SECONDS: Final = 10.0
"""A session that lasted longer counts as a success."""


class BrokerLost(ConnectionError):
    """The connection to the broker, or the channel, was lost."""

    def __init__(self, cause: object = None) -> None:
        super().__init__(repr(cause) if cause else "closed")


class NotConfirming(BrokerLost):
    """The session was ended, since the broker is connected and does not confirm. The publisher reports it."""


LOST: Final = (*CONNECTION_EXCEPTIONS, TimeoutError)
"""What aio-pika raises when the connection or a channel is gone, or was never there."""


class _SaidOnceByUs(logging.Filter):
    """Drops what aiormq logs for each failed attempt and lost connection: this module says it, and says it once."""

    _SAID: Final = (
        "error when creating transport",
        "Cancelling cause reader exited abnormally",
        "Unexpected connection close from remote",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._SAID)


logging.getLogger("aiormq.connection").addFilter(_SaidOnceByUs())


class ReconnectingConnection(Generic[S]):
    """Runs one session after another: a connection with what was set up on it, for as long as its use lasts."""

    def __init__(
        self,
        url: str,
        *,
        role: str,
        name: str,
        set_up: Callable[[AbstractConnection], Awaitable[S]],
        use: Callable[[S], Awaitable[None]],
    ) -> None:
        """`use` returns after `stop`, and raises when the session is no good any more."""
        self._url = url
        self._brokers = Brokers()
        self._client_name = f"{role} {name}"
        self._set_up = set_up
        self._use = use
        self._connected = metrics.CONNECTED.labels(role, name)
        self._connected.set(0)
        self._log = logger.bind(role=role, name=name, broker=address_of(url))
        self._outage = Outage(self._log, "RabbitMQ", "trying to connect")
        blocked = metrics.BLOCKED.labels(role, name)
        self.alarm: Final = Alarm(
            Outage(self._log, "RabbitMQ's intake", "messages wait for the end of its alarm", gauge=blocked, during=1)
        )
        self._left_on_purpose = False
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_open = asyncio.Event()
        self._in_use = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection with everything set up."""
        return self._is_open.is_set()

    async def wait_until_connected(self) -> None:
        """Return when there is a connection. Waits as long as it takes."""
        await self._is_open.wait()

    def start(self) -> None:
        """Begin to connect, and return at once."""
        self._stopping = False
        self._task = asyncio.create_task(self._run_sessions())

    async def stop(self, timeout: float) -> None:
        """Open no further session, and wait so many seconds for the end of the use of this one."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        try:
            if self._in_use:
                await asyncio.wait([task], timeout=timeout)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run_sessions(self) -> None:
        pauses = Pauses()
        while not self._stopping:
            started = time.monotonic()
            try:
                await self._run_session()
            except NotConfirming:
                self._left_on_purpose = True
            except LOST as error:
                self._begin_outage(error)
            except Exception:  # noqa: BLE001 - a bug in here must not end the deliveries; it is logged with its traceback
                self._log.exception("a session with the broker failed")
            if time.monotonic() - started > _STABLE_SECONDS:
                pauses.reset()
            if not self._stopping:
                await asyncio.sleep(pauses.next())

    async def _run_session(self) -> None:
        with translate_stray_failures():
            connection, session = await self._open()
            async with self._closing(connection):
                self._in_use = True
                try:
                    await self._use(session)
                finally:
                    self._in_use = False

    async def _open(self) -> tuple[AbstractConnection, S]:
        """Try for as long as it takes."""
        patiently = retry(
            times=sys.maxsize,
            delay=0.2,
            exceptions=LOST,
            backoff=2,
            max_delay=5,
            jitter=0.5,
            on_retry=self._note_failure,
        )
        return await patiently(self._try_to_open)()

    async def _try_to_open(self) -> tuple[AbstractConnection, S]:
        with translate_stray_failures():
            connection = await connect(self._url, self._client_name, self._brokers)
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                    session = await self._set_up(connection)
                self._note_connected(connection)
            except BaseException:
                await close(connection)
                raise
        return connection, session

    @asynccontextmanager
    async def _closing(self, connection: AbstractConnection) -> AsyncIterator[None]:
        try:
            yield
        finally:
            # In an alarm the broker would not hear a goodbye, nor take what is on its way to it.
            if self.alarm.is_on:
                self._brokers.hang_up()
            self._note_closed()
            await close(connection)

    def _note_connected(self, connection: AbstractConnection) -> None:
        connection.close_callbacks.add(lambda *_: self._note_closed())
        self.alarm.watch(connection)
        self._connected.set(1)
        self._is_open.set()
        if not self._outage.end() and not self._left_on_purpose:
            self._log.info("connected to the broker")
        self._left_on_purpose = False

    def _note_closed(self) -> None:
        self._is_open.clear()
        self._connected.set(0)
        self.alarm.leave()

    def _note_failure(self, failure: Failure) -> None:
        self._begin_outage(failure.exception)

    def _begin_outage(self, error: BaseException) -> None:
        if not self._stopping:
            self._outage.begin(error)


async def connect(url: str, name: str, brokers: Brokers | None = None) -> AbstractConnection:
    """A connection under this name, which is given up when the broker is silent. Raises one of `LOST`.

    `brokers` remember which of them it was, for the next time.
    """
    address = URL(url)
    if "heartbeat" not in address.query:
        address = address.update_query(heartbeat=str(_HEARTBEAT_SECONDS))
    connection = Connection(address, client_properties={"connection_name": name})
    await connection.connect_to(brokers or Brokers(), _CONNECT_TIMEOUT_SECONDS)
    return connection


async def close(connection: AbstractConnection) -> None:
    """Close it, in order if that can be."""
    # One that cannot be closed in order is left to its heartbeat; it is not used any more.
    with contextlib.suppress(*LOST), translate_stray_failures():
        await asyncio.wait_for(connection.close(), _CLOSE_TIMEOUT_SECONDS)


def address_of(url: str) -> str:
    """Host and port, which may be logged and shown."""
    address = URL(url)
    return f"{address.host}:{address.port or (5671 if address.scheme == 'amqps' else 5672)}"


@contextmanager
def translate_stray_failures() -> Iterator[None]:
    """aiormq 7.2 answers what waits for a dead connection with CancelledError, though nobody cancelled, and where it
    knows no reason with a bare Exception.
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0
    try:
        yield
    except asyncio.CancelledError as error:
        if task and task.cancelling() > cancellations:
            raise
        raise BrokerLost(error) from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise BrokerLost(error) from error
