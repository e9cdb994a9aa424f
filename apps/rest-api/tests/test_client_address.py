"""Proxies that are known by their names."""

import asyncio
import socket

import pytest
from rest_api import client_address
from rest_api.client_address import behind
from starlette.types import ASGIApp, Receive, Scope, Send
from support.waiting import until

PEER = "127.0.0.1"
CLIENT = "198.51.100.7"


async def tell_the_client(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with the address it is told."""
    await send({"address": scope["client"][0]})


async def client_seen_by(app: ASGIApp, peer: str) -> str:
    told: list[str] = []

    async def receive() -> dict[str, object]:
        return {}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        told.append(message["address"])

    await app({"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", CLIENT.encode())]}, receive, send)
    return told[0]


async def clients_seen_by(app: ASGIApp, peer: str) -> list[str]:
    """At first, and when the names have been looked up."""
    assert isinstance(app, client_address._BehindNames)
    seen = []
    for _ in range(2):
        seen.append(await client_seen_by(app, peer))
        await until(lambda: app._looking is None, "the names have been looked up")
    return seen


class TestAProxyByName:
    async def test_is_believed_as_soon_as_its_address_is_known(self) -> None:
        assert await clients_seen_by(behind("localhost", tell_the_client), PEER) == [PEER, CLIENT]

    @pytest.mark.parametrize(
        ("proxies", "peer"),
        [
            pytest.param("localhost", "192.0.2.1", id="another"),
            pytest.param("nobody.invalid", PEER, id="a-name-of-nobody"),
        ],
    )
    async def test_nobody_else_is_believed(self, proxies: str, peer: str) -> None:
        assert await clients_seen_by(behind(proxies, tell_the_client), peer) == [peer, peer]

    async def test_stands_beside_networks(self) -> None:
        app = behind("nobody.invalid, 10.0.0.0/8", tell_the_client)
        assert await clients_seen_by(app, "10.1.2.3") == [CLIENT, CLIENT]

    async def test_is_believed_on_while_the_name_server_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_address, "_LOOK_UP_SECONDS", 0)
        app = behind("localhost", tell_the_client)
        assert await clients_seen_by(app, PEER) == [PEER, CLIENT]

        async def away(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", away)
        assert await clients_seen_by(app, PEER) == [CLIENT, CLIENT]
