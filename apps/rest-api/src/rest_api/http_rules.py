"""What the parser lets pass in the head of a request, and RFC 9110 and 9112 do not.

A proxy in front of the service may read such a head differently, and take two requests for one (request smuggling).

docs/decisions/0039 gives the reasons.
"""

import re
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from rest_api.problems.document import problem

Fields = Sequence[tuple[bytes, bytes]]

DECISIVE: Final = frozenset((b"host", b"transfer-encoding"))
"""The fields that `fault_of` looks at."""

_VERSIONS: Final = frozenset(("1.1", "1.0"))

# uri-host [ ":" port ], RFC 9110, 7.2 and RFC 3986, 3.2.2. Possessive, so that a long one is gone through once.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Za-z:.%~_-]++\]|[0-9A-Za-z._~!$&'()*+,;=%-]*+)(?::[0-9]*+)?")

_ORIGIN: Final = re.compile(rb"https?://[^/?#]*+", re.IGNORECASE)


def origin_form_of(target: bytes) -> bytes:
    """The target as a path, the only form that uvicorn 0.54 reads. A server must take two others too (RFC 9112, 3.2): a
    path, perhaps empty, after a host, and the asterisk, which names nothing here.
    """
    if target == b"*":
        return b"/*"
    origin = _ORIGIN.match(target)
    if origin is None:
        return target
    rest = target[origin.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def fault_of(method: bytes, target: bytes, version: str, fields: Fields) -> Response | None:
    """The answer to a head that is none, after which the connection closes.

    ``fields`` are all that are decisive, in their order, with their names in small letters.
    """
    if version not in _VERSIONS:  # RFC 9110, 15.6.6
        return problem(505, "version-not-known", "The versions of HTTP that this port speaks are 1.1 and 1.0.")
    if method == b"CONNECT":  # RFC 9110, 9.3.6
        return problem(501, "method-not-known", "This service opens no tunnels.")
    if not target.isascii():  # RFC 9112, 3.2: it is not to be mended in silence
        return problem(400, "malformed-target", "The address must be ASCII: percent-encode all other characters.")
    if b"#" in target:  # a fragment is the client's own matter (RFC 9110, 7.1)
        return problem(400, "malformed-target", "The address must have no fragment: write %23 for a #.")
    return _fault_of_host(version, fields) or _fault_of_codings(version, fields)


def _fault_of_host(version: str, fields: Fields) -> Response | None:
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):  # RFC 9112, 3.2
        return problem(400, "malformed-header", "A request must have one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return problem(400, "malformed-header", "The Host header must name a host, and perhaps a port.")
    return None


def _fault_of_codings(version: str, fields: Fields) -> Response | None:
    """RFC 9112, 6.1 and 6.3."""
    values = [value for name, value in fields if name == b"transfer-encoding"]
    if not values:
        return None
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    if version == "1.0" or codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        return problem(400, "malformed-header", "Where the body ends cannot be told from this Transfer-Encoding.")
    if codings != [b"chunked"]:
        return problem(501, "coding-not-known", "The only transfer coding that this service reads is chunked.")
    return None
