"""Whether a process of this package is well, asked from beside it.

Container engines ask every few seconds, so this module loads the standard library alone: `python -m rest_api.probe` and
`python -m rest_api.probe relay` say what `rest-api healthcheck` and `healthcheck-relay` say, in a tenth of their time.
"""

import http.client
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

HEARTBEAT: Final = "colophon_relay_heartbeat_timestamp_seconds"
"""The metric by which the relay shows that it goes round."""

_MAX_SILENCE_SECONDS: Final = 60.0
"""A round with a database and a broker that keep it waiting to the end of all timeouts takes less."""

_TIMEOUT_SECONDS: Final = 3.0

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
"""Where a service is found that listens on every address."""


class NotWell(Exception):
    """The process on this machine does not do its work; the message says how that shows."""


def service() -> None:
    """Raises NotWell unless the REST service on this machine is ready."""
    host = os.environ.get("REST_HOST") or "127.0.0.1"
    status, body = _get(_EVERYWHERE.get(host, host), _port("REST_PORT", "8000"), "/healthz/ready")
    if status != http.client.OK:
        raise NotWell(f"the service answers {status}: {body}")


def relay() -> None:
    """Raises NotWell unless the relay on this machine has gone round lately: relaying, waiting or standing by."""
    status, body = _get("127.0.0.1", _port("METRICS_PORT"), "/metrics")
    if status != http.client.OK:
        raise NotWell(f"the relay answers {status}: {body}")
    silence = time.time() - _heartbeat(body)
    if silence > _MAX_SILENCE_SECONDS:
        raise NotWell(f"the relay went round for the last time {silence:.0f} seconds ago")


def exit_code(question: Callable[[], None]) -> int:
    """0 when all is well; else 1, and the reason is on standard error."""
    try:
        question()
    except NotWell as error:
        print(f"rest-api: {error}", file=sys.stderr)  # noqa: T201 - whoever looks into the container reads it
        return 1
    return 0


def _port(variable: str, default: str = "") -> int:
    text = os.environ.get(variable) or default
    if not text.isdecimal():
        raise NotWell(f"{variable} must be the port that the process listens on")
    return int(text)


def _get(host: str, port: int, path: str) -> tuple[int, str]:
    # Not urllib, which would ask the proxy that HTTP_PROXY names.
    with closing(http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise NotWell(f"no answer from {host}:{port}: {error!r}") from error


def _heartbeat(metrics: str) -> float:
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name == HEARTBEAT:
            return float(value)
    raise NotWell(f"there is no {HEARTBEAT} among the metrics")


_QUESTIONS: Final[Mapping[str, Callable[[], None]]] = {"service": service, "relay": relay}

if __name__ == "__main__":
    sys.exit(exit_code(_QUESTIONS[sys.argv[1] if len(sys.argv) > 1 else "service"]))
