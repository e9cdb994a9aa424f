"""Where a request comes from."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from fastapi import Request


def address_of(request: Request) -> str:
    """The address of the client: the peer's, or what a proxy of TRUSTED_PROXIES says. Empty when it is not known, as
    on a Unix socket.
    """
    address = _parsed(request)
    return "" if address is None else str(address)


def _parsed(request: Request) -> IPv4Address | IPv6Address | None:
    if request.client is None:
        return None
    try:
        address = ip_address(request.client.host.partition("%")[0])
    except ValueError:  # a proxy may pass on anything, and RFC 7239 has it say "unknown"
        return None
    # A socket that listens on :: shows IPv4 clients in this form.
    return getattr(address, "ipv4_mapped", None) or address
