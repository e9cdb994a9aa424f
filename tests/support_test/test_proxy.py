"""The network that fails when it is told to, itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Self

import pytest
from support.ports import free_port
from support.proxy import End, Proxy
from support.waiting import PATIENCE, patiently

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Listener:
    """A server that takes connections and leaves to the test what is said on them."""

    def __init__(self) -> None:
        self.port = free_port()
        self._taken: asyncio.Queue[Connection] = asyncio.Queue()

    async def accept(self) -> Connection:
        return await patiently(self._taken.get(), "somebody connects")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._taken.put_nowait((reader, writer))


class Pair:
    """The two ends of a connection through a proxy."""

    def __init__(self, client: Connection, server: Connection) -> None:
        self.ends = {"client": client, "server": server}

    def say(self, end: str, what: bytes) -> None:
        self.ends[end][1].write(what)

    async def hear(self, end: str, *, within: float = PATIENCE) -> bytes:
        """What comes next at this end; nothing at all when it is the end. Raises ConnectionError and TimeoutError."""
        return await asyncio.wait_for(self.ends[end][0].read(1_000), within)

    def close(self) -> None:
        for _, writer in self.ends.values():
            if not writer.is_closing():
                writer.transport.abort()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with Listener() as listener:
        yield listener


@pytest.fixture
async def proxy(listener: Listener) -> AsyncIterator[Proxy]:
    async with Proxy(listener.port) as proxy:
        yield proxy


@pytest.fixture
async def pair(listener: Listener, proxy: Proxy) -> AsyncIterator[Pair]:
    pair = await connected(listener, proxy)
    yield pair
    pair.close()


async def connected(listener: Listener, proxy: Proxy) -> Pair:
    client = await asyncio.open_connection("127.0.0.1", proxy.port)
    return Pair(client, await listener.accept())


BOTH = pytest.mark.parametrize(("here", "there"), [("client", "server"), ("server", "client")])


class TestAWellProxy:
    @BOTH
    async def test_passes_on_what_is_said_and_its_end(self, pair: Pair, here: End, there: End) -> None:
        pair.say(here, b"hello")
        assert await pair.hear(there) == b"hello"
        pair.ends[here][1].write_eof()
        assert await pair.hear(there) == b""
        pair.say(there, b"I still talk")
        assert await pair.hear(here) == b"I still talk"

    async def test_passes_on_much_whole_and_in_order(self, pair: Pair) -> None:
        much = bytes(range(256)) * 40_000
        pair.say("client", much)
        pair.ends["client"][1].close()
        reader, _ = pair.ends["server"]
        assert await patiently(reader.read(), "all has come") == much

    @BOTH
    async def test_passes_on_that_an_end_is_gone(self, pair: Pair, here: End, there: End) -> None:
        pair.ends[here][1].transport.abort()
        assert await pair.hear(there) == b""

    async def test_resets_who_wants_a_server_that_is_not_there(self) -> None:
        async with Proxy(free_port()) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises(ConnectionResetError):
                await patiently(reader.read(1), "the connection is reset")
            writer.close()


class TestAProxyThatDrops:
    async def test_resets_both_ends(self, proxy: Proxy, pair: Pair) -> None:
        proxy.drop()
        for end in ("client", "server"):
            with pytest.raises(ConnectionResetError):
                await pair.hear(end)

    async def test_takes_new_connections_at_once(self, listener: Listener, proxy: Proxy, pair: Pair) -> None:
        proxy.drop()
        another = await connected(listener, proxy)
        another.say("client", b"hello")
        assert await another.hear("server") == b"hello"
        another.close()


class TestAProxyThatHalfCloses:
    @BOTH
    async def test_ends_one_direction_and_not_the_other(self, proxy: Proxy, pair: Pair, here: End, there: End) -> None:
        proxy.half_close(there)
        assert await pair.hear(there) == b""
        pair.say(here, b"is anybody there?")
        await asyncio.sleep(0.1)
        assert await pair.hear(there) == b""
        pair.say(there, b"hello")
        assert await pair.hear(here) == b"hello"

    @BOTH
    async def test_passes_on_the_end_of_the_other(self, proxy: Proxy, pair: Pair, here: End, there: End) -> None:
        proxy.half_close(there)
        pair.ends[there][1].close()
        assert await pair.hear(here) == b""


class TestAProxyThatDelays:
    async def test_holds_back_each_way(self, proxy: Proxy, pair: Pair) -> None:
        proxy.delay(0.2)
        began = time.monotonic()
        pair.say("client", b"hello")
        assert await pair.hear("server") == b"hello"
        pair.say("server", b"hello yourself")
        assert await pair.hear("client") == b"hello yourself"
        assert time.monotonic() - began >= 0.4


class TestABlackHole:
    @BOTH
    async def test_lets_nothing_through_until_it_is_healed(
        self, proxy: Proxy, pair: Pair, here: End, there: End
    ) -> None:
        proxy.black_hole()
        pair.say(here, b"hello")
        with pytest.raises(TimeoutError):
            await pair.hear(there, within=0.2)
        await proxy.heal()
        assert await pair.hear(there) == b"hello"

    @pytest.mark.parametrize("how", ["close", "abort"])
    async def test_does_not_tell_that_an_end_is_gone(self, proxy: Proxy, pair: Pair, how: str) -> None:
        proxy.black_hole()
        pair.say("client", b"my last words")
        await asyncio.sleep(0.05)
        getattr(pair.ends["client"][1].transport, how)()
        with pytest.raises(TimeoutError):
            await pair.hear("server", within=0.2)
        await proxy.heal()
        assert await pair.hear("server") == b"my last words"
        assert await pair.hear("server") == b""

    async def test_takes_connections_and_leads_them_nowhere(self, listener: Listener, proxy: Proxy) -> None:
        proxy.black_hole()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener._taken.get(), 0.2)
        await proxy.heal()
        pair = Pair((reader, writer), await listener.accept())
        assert await pair.hear("server") == b"hello"
        pair.close()


class TestAProxyThatRefuses:
    async def test_takes_no_connection_until_it_is_healed(self, listener: Listener, proxy: Proxy, pair: Pair) -> None:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.heal()
        (await connected(listener, proxy)).close()

    async def test_leaves_those_that_there_are(self, proxy: Proxy, pair: Pair) -> None:
        proxy.refuse()
        pair.say("client", b"hello")
        assert await pair.hear("server") == b"hello"


class TestTheEndOfAProxy:
    async def test_resets_who_is_connected_and_frees_the_port(self, listener: Listener) -> None:
        async with Proxy(listener.port) as proxy:
            pair = await connected(listener, proxy)
            proxy.black_hole()
        with pytest.raises(ConnectionResetError):
            await pair.hear("client")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        pair.close()
