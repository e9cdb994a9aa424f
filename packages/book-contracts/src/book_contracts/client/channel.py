"""The channel to the service: where it leads, what encrypts it, and what it repeats by itself."""

import json
import re
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc

Tls: TypeAlias = bool | bytes | str | PathLike[str]
"""Whether to encrypt, and whom to trust: True stands for the authorities that gRPC trusts, a path or bytes in PEM for
others."""

Certificate: TypeAlias = tuple[str | PathLike[str], str | PathLike[str]]
"""The PEM files of the client's certificate and of its private key."""

SERVICE: Final = "books.v1.BookService"

_UNARY: Final = ("GetBook", "BatchGetBooks", "ListBooks")

_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # A replica says NOT_SERVING a moment before it stops, so that no call is under way to it then.
    "healthCheckConfig": {"serviceName": SERVICE},
    "methodConfig": [
        {
            # All of them read, so all can be repeated. A stream of changes is resumed instead, by watching.py.
            "name": [{"service": SERVICE, "method": method} for method in _UNARY],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "backoffMultiplier": 2.5,
                "maxBackoff": "2s",
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # When half of the last calls have failed, repeating them only keeps a service down.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
}

_OPTIONS: Final = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A replica that is back is found within about a second: by default a channel waits for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Replicas come and go: ask for their addresses as soon as one is gone, at most this often.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    # A connection that has died in silence is noticed within 40 seconds, while a call waits for an answer.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # What bounds the wait for the answer, which would else be a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
)

_PLACE: Final = re.compile(r"(?:\[[^\[\]]+\]|[^:\s\[\]]+)(?::\d{1,5})?|[\w.%]*:[\w.%]*:[\w.%:]*")
"""Of a host and perhaps a port, or an address of IPv6 without brackets."""

_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock):(?://[^/]*/)?(.*)", re.DOTALL)


def open_channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel in the running event loop, plain without credentials."""
    # A proxy that stands in the environment cannot reach this machine's own addresses.
    options: list[tuple[str, Any]] = [*_OPTIONS, ("grpc.enable_http_proxy", int(leaves_the_machine(address)))]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, credentials, options)


def credentials_of(tls: Tls, certificate: Certificate | None) -> grpc.ChannelCredentials | None:
    """None for a plain channel. Raises OSError for a file that cannot be read, and ValueError."""
    if tls is False:
        if certificate:
            raise ValueError("A client certificate belongs to TLS: say tls=True, or tls=Path(...) of the authority.")
        return None
    chain, key = map(_read, certificate) if certificate else (None, None)
    return grpc.ssl_channel_credentials(None if tls is True else _read(tls), key, chain)


def is_address(address: str) -> bool:
    """Whether it may be one: gRPC itself finds out when it is called, and goes on trying what leads nowhere."""
    scheme, places = _parts_of(address)
    if scheme not in ("dns", "ipv4", "ipv6") or "://" in places:  # of a scheme that gRPC may know
        return bool(places)
    return all(map(_PLACE.fullmatch, places.split(",")))


def leaves_the_machine(address: str) -> bool:
    """Whether calls to an address, in any form that gRPC knows, may go over a network."""
    scheme, places = _parts_of(address)
    return scheme == "vsock" or (not scheme.startswith("unix") and not all(map(_is_here, places.split(","))))


def _parts_of(address: str) -> tuple[str, str]:
    found = _SCHEME.fullmatch(address)
    return (found[1], found[2]) if found else ("dns", address)


def _is_here(place: str) -> bool:
    bracketed = re.fullmatch(r"\[(.*)\](?::.*)?", place)
    host = bracketed[1] if bracketed else place if place.count(":") > 1 else place.partition(":")[0]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _read(pem: bytes | str | PathLike[str]) -> bytes:
    return pem if isinstance(pem, bytes) else Path(pem).read_bytes()
