"""Clients as people use them, each doing the same with the API."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.node import NodeProject
from support.services import RestApi
from support.waiting import PATIENCE

PROGRAMS = Path(__file__).with_name("clients")
PASSWORD = "Käsebrötchen für alle 7"
IMPORTED = [f"Käsebrötchen {number}" for number in (1, 2, 3)]

TRANSCRIPT: list[list[Any]] = [
    ["register", 201, None],
    ["sign in", 200, None],
    ["create", 201, '"1"'],
    ["read", 200, None],
    ["list", 200, ["Käsebrötchen"]],
    ["read again", 304, 0],
    ["head", 200, [0, 0]],
    ["replace", 200, '"2"'],
    ["replace what has changed", 412, "urn:colophon:precondition-failed"],
    ["import", 200, 3],
    ["export", 200, ["Butterbrot", *IMPORTED]],
    ["delete", 204, 0],
    ["read what is gone", 404, "urn:colophon:book-not-found"],
]
"""Of each step the status, and what the client was told: of HEAD the length of its content, and how much longer that of
GET was than HEAD says.
"""


def transcript_of(service: RestApi, *command: str | Path, options: tuple[str, ...] = ()) -> list[list[Any]]:
    name = uuid4().hex
    done = subprocess.run(
        [*command, service.url, f"{name}@example.org", PASSWORD, f"Jürgen {name}", *options],
        check=False,
        # Nothing of whoever runs the tests, a proxy say.
        env={"PATH": os.environ["PATH"], "HOME": str(service.folder), "LANG": "C.UTF-8", "CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestEveryStepIsDoneBy:
    @pytest.mark.parametrize(
        "options",
        [
            pytest.param((), id="by-itself"),
            pytest.param(("--http2",), id="that-offers-http/2"),
            pytest.param(("--http1.0",), id="of-http/1.0"),
        ],
    )
    def test_curl(self, curl: Path, service: RestApi, options: tuple[str, ...]) -> None:
        command = (sys.executable, PROGRAMS / "with_curl.py")
        assert transcript_of(service, *command, options=options) == TRANSCRIPT

    def test_httpx(self, service: RestApi) -> None:
        assert transcript_of(service, sys.executable, PROGRAMS / "with_httpx.py") == TRANSCRIPT

    def test_aiohttp(self, service: RestApi) -> None:
        assert transcript_of(service, sys.executable, PROGRAMS / "with_aiohttp.py") == TRANSCRIPT

    def test_fetch_of_node(self, node: NodeProject, service: RestApi) -> None:
        assert transcript_of(service, node.program, PROGRAMS / "fetch.mjs") == TRANSCRIPT

    # Compilers take longer than five seconds, and are larger than anything else that the tests need.
    @pytest.mark.slow
    def test_http_client_of_java(self, java: Path, service: RestApi) -> None:
        assert transcript_of(service, java, PROGRAMS / "Client.java") == TRANSCRIPT

    @pytest.mark.slow
    def test_net_http_of_go(self, go: Path, service: RestApi) -> None:
        assert transcript_of(service, go, "run", PROGRAMS / "client.go") == TRANSCRIPT
