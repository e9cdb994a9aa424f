"""Where a request comes from."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, Field
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_IPV4: Final = 4
_SITE: Final = 64
"""Bits of an IPv6 address that one customer shares; the others they choose at will."""


def address_of(request: HTTPConnection) -> str:
    """The address of the client: the peer's, or what a proxy of TRUSTED_PROXIES says. Empty when it is not known, as
    on a Unix socket.
    """
    address = _parsed(request)
    return "" if address is None else str(address)


def network_of(request: HTTPConnection) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 address. Empty when it is not known."""
    address = _parsed(request)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), _SITE), strict=False))
    return "" if address is None else str(address)


def _parsed(request: HTTPConnection) -> IPv4Address | IPv6Address | None:
    if request.client is None:
        return None
    try:
        address = ip_address(request.client.host.partition("%")[0])
    except ValueError:  # a proxy may pass on anything, and RFC 7239 has it say "unknown"
        return None
    # A socket that listens on :: shows IPv4 clients in this form.
    return getattr(address, "ipv4_mapped", None) or address


def _checked_networks(text: str) -> str:
    for network in _split(text):
        try:
            ip_network(network)
        except ValueError as error:
            raise ValueError(f"it must be addresses and networks with commas between them: {error}") from None
    return text


Networks = Annotated[str, AfterValidator(_checked_networks), Field(examples=["10.0.0.0/8,fd00::/8", "127.0.0.1"])]
"""Addresses and networks with commas between them."""


def behind(proxies: str, app: ASGIApp) -> ASGIApp:
    """The app, which takes address and scheme of a client from X-Forwarded-For and X-Forwarded-Proto where they come
    from one of these networks, and else never.
    """
    trusted = [each for network in _split(proxies) for each in _in_both_families(ip_network(network))]
    # uvicorn's types are its own, of the same shape.
    return cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, app), trusted)) if trusted else app


def _split(text: str) -> list[str]:
    return [each for part in text.split(",") if (each := part.strip())]


def _in_both_families(network: IPv4Network | IPv6Network) -> Iterator[str]:
    yield str(network)
    if network.version == _IPV4:
        yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"
