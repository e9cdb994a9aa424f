"""Where a request comes from."""

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, cast

import structlog
from book_runtime.outage import Outage, Reason
from pydantic import AfterValidator, Field
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_IPV4: Final = 4
_PREFIXES: Final = {64: 1, 56: 2, 48: 4}
"""Bits of an IPv6 address that one customer may have to themselves, who chooses the others at will: how many, RFC 6177
leaves to providers. And how many times as much such a network may do: in the larger ones there may be several.
"""

_PEER: Final = "colophon.peer"
"""Where a scope says who has connected, which may be a proxy."""

_NAME: Final = re.compile(r"(?!-)([a-z0-9-]{1,63}\.)*[a-z][a-z0-9-]{0,62}", re.IGNORECASE)
"""A host's name by RFC 1123. Its last part begins with a letter, or it would be a broken address."""

_NOBODYS: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""What a name server says of a name that nobody bears. macOS knows one of the two alone."""

_log = structlog.get_logger(__name__)

_LOOK_UP_SECONDS: Final = 2.0
"""After which a name is looked up again."""


def address_of(request: HTTPConnection) -> str:
    """The address of the client: the peer's, or what a proxy of TRUSTED_PROXIES says. Empty when it is not known, as
    on a Unix socket.
    """
    address = _parsed(request.client)
    return "" if address is None else str(address)


def networks_of(request: HTTPConnection) -> dict[str, int]:
    """What is counted as one client, each with how many times as much it may do: an IPv4 address, or the networks of an
    IPv6 address, from the smallest to the largest. Empty text when it is not known.

    Of a client whose address a proxy does not tell, it is that of the proxy: strangers to each other are not one client
    of all proxies.
    """
    address = _parsed(request.client) or _parsed(request.scope.get(_PEER))
    if isinstance(address, IPv6Address):
        return {str(ip_network((int(address), bits), strict=False)): times for bits, times in _PREFIXES.items()}
    return {"" if address is None else str(address): 1}


def site_of(request: HTTPConnection) -> str:
    """The largest of these networks."""
    return list(networks_of(request))[-1]


def _parsed(client: Sequence[Any] | None) -> IPv4Address | IPv6Address | None:
    if client is None:
        return None
    try:
        address = ip_address(str(client[0]).partition("%")[0])
    except ValueError:  # a proxy may pass on anything, and RFC 7239 has it say "unknown"
        return None
    # A socket that listens on :: shows IPv4 clients in this form.
    return getattr(address, "ipv4_mapped", None) or address


def _checked_networks(text: str) -> str:
    for network in _split(text):
        try:
            _ = _NAME.fullmatch(network) or ip_network(network)
        except ValueError as error:
            raise ValueError(f"it must be addresses, networks and names with commas between them: {error}") from None
    return text


Networks = Annotated[str, AfterValidator(_checked_networks), Field(examples=["10.0.0.0/8,fd00::/8", "127.0.0.1"])]
"""Addresses, networks and names of hosts with commas between them."""


def behind(proxies: str, app: ASGIApp) -> ASGIApp:
    """The app, which takes address and scheme of a client from X-Forwarded-For and X-Forwarded-Proto where they come
    from one of these networks or hosts, and else never.
    """
    names = [each for each in _split(proxies) if _NAME.fullmatch(each)]
    networks = [ip_network(each) for each in _split(proxies) if each not in names]
    if names:
        return _BehindNames(app, networks, names)
    return _behind_networks(app, networks) if networks else app


def _behind_networks(app: ASGIApp, networks: Iterable[IPv4Network | IPv6Network]) -> ASGIApp:
    trusted = [each for network in networks for each in _in_both_families(network)]
    # uvicorn's types are its own, of the same shape.
    believing = cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, app), trusted))

    def keeping_the_peer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope[_PEER] = scope.get("client")
        return believing(scope, receive, send)

    return keeping_the_peer


class _BehindNames:
    """Trusts those who bear these names now: in a network of containers nobody knows an address beforehand, and it may
    change whenever one starts. A name that nobody bears is nobody's.

    No request waits for a look-up, which a name server that is away would make long: who is trusted is what the last
    one said.
    """

    def __init__(self, app: ASGIApp, networks: Iterable[IPv4Network | IPv6Network], names: Iterable[str]) -> None:
        self._app = app
        self._networks = list(networks)
        self._names = list(names)
        self._inner = _behind_networks(app, networks)
        self._looked_up = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._outage = Outage(_log, "the names of proxies", "the addresses that they had last are trusted")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if time.monotonic() - self._looked_up > _LOOK_UP_SECONDS and self._looking is None and _may_matter(scope):
            self._looking = asyncio.create_task(self._look_up())
        await self._inner(scope, receive, send)

    async def _look_up(self) -> None:
        try:
            found = await asyncio.gather(*map(_addresses_of, self._names))
        except OSError as error:
            self._outage.begin(Reason(f"{', '.join(self._names)}: {error!r}", type(error)))
        else:
            self._outage.end()
            bearers = [ip_network(address) for addresses in found for address in addresses]
            self._inner = _behind_networks(self._app, [*self._networks, *bearers])
        finally:
            self._looked_up, self._looking = time.monotonic(), None


def _may_matter(scope: Scope) -> bool:
    return scope["type"] == "lifespan" or any(name == b"x-forwarded-for" for name, _ in scope["headers"])


async def _addresses_of(name: str) -> set[str]:
    """Of nobody where nobody bears the name. Raises OSError when that cannot be found out."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NOBODYS:
            return set()
        raise
    return {str(address[0]).partition("%")[0] for *_, address in found}


def _split(text: str) -> list[str]:
    return [each for part in text.split(",") if (each := part.strip())]


def _in_both_families(network: IPv4Network | IPv6Network) -> Iterator[str]:
    yield str(network)
    if network.version == _IPV4:
        yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"
