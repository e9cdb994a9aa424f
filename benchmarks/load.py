"""Load from programs that are known for it: wrk for HTTP, h2load for gRPC. One thread each, and 32 connections."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 32

_SCRIPT: Final = Path(__file__).with_name("request.lua")


class LoadFailed(Exception):
    """{program} met answers that are no success: {what}"""

    def __init__(self, program: str, what: str) -> None:
        super().__init__((type(self).__doc__ or "").format(program=program, what=what))


@dataclass(frozen=True, slots=True)
class Speed:
    """What a program measured in one round."""

    rate: float
    """Answers a second."""
    p99: float | None
    """Seconds within which 99 of 100 were answered; None where the program does not tell."""


@dataclass(frozen=True, slots=True)
class Http:
    """Requests of wrk, each the same or, with a list of them, in turn."""

    url: str
    paths: Sequence[str] = ("/",)
    headers: Mapping[str, str] | None = None
    method: str = "GET"
    body: str = ""
    status: int = 200

    def run(self, seconds: float) -> Speed:
        """Raises LoadFailed when anything but the status that is wanted was answered."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT)]
        for name, value in (self.headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        request = {
            "METHOD": self.method,
            "PATHS": "\n".join(self.paths),
            "BODY": self.body,
            "STATUS": str(self.status),
        }
        said = json.loads(_output_of([*command, self.url], request).splitlines()[-1])
        if said["failed"]:
            raise LoadFailed("wrk", f"{said['failed']} of {said['answered']}, with status {said['example']}")
        return Speed(said["answered"] / said["seconds"], said["p99"])


@dataclass(frozen=True, slots=True)
class Grpc:
    """Calls of h2load, which looks at the HTTP status alone: whether calls succeed is to be tried before."""

    address: str
    method: str
    request: Path
    """A file with the message and its five bytes of length in front."""
    headers: Mapping[str, str] | None = None

    def run(self, seconds: float) -> Speed:
        headers = {"content-type": "application/grpc", "te": "trailers", **(self.headers or {})}
        said = _output_of(
            [
                "h2load", "-t1", f"-c{CONNECTIONS}", "-m1", f"-D{seconds:.0f}", "-d", str(self.request),
                *(f"-H{name}: {value}" for name, value in headers.items()),
                f"http://{self.address}{self.method}",
            ]
        )  # fmt: skip
        failed = int(_found(r"(\d+) failed", said)) + int(_found(r"(\d+) errored", said))
        if failed:
            raise LoadFailed("h2load", said)
        return Speed(float(_found(r"finished in .*?, ([\d.]+) req/s", said)), None)


def _output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise LoadFailed("the program", f"nothing like {pattern} in {text}")
    return match[1]
