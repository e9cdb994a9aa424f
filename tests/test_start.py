"""What a process imports before it begins its work, which is all of the time that it needs to start, and most of its
memory: nothing of what belongs to another process, or to another command.
"""

import subprocess
import sys
from functools import cache

import pytest

# With nothing in its environment a command imports what it runs, and then says what it is not told.
_IMPORT = """
import sys
from book_runtime.settings import SettingsError
from {package} import cli
before = set(sys.modules)
try:
    cli.app(["{command}"])
except SettingsError:
    print(*before)
    print(*sys.modules)
"""


@cache
def imported(package: str, command: str) -> tuple[set[str], set[str]]:
    """The modules that are there when the command line is, and when its command begins its work."""
    script = _IMPORT.format(package=package, command=command)
    done = subprocess.run([sys.executable, "-c", script], env={}, check=True, capture_output=True, text=True)
    before, then = done.stdout.splitlines()
    return set(before.split()), set(then.split())


_SERVICES = [
    pytest.param(
        ("rest_api", "serve"),
        {"aio_pika", "alembic", "betterproto2", "google.protobuf", "grpc", "grpclib", "rest_api.relay.relay"},
        id="rest-api",
    ),
    pytest.param(
        ("rest_api", "relay"),
        {"alembic", "betterproto2", "fastapi", "grpc", "grpclib", "httpx", "limits", "starlette", "uvicorn"},
        id="outbox-relay",
    ),
    pytest.param(
        ("grpc_api", "serve"),
        {"alembic", "betterproto2", "fastapi", "grpclib", "httpx", "limits", "starlette", "uvicorn"},
        id="grpc-api",
    ),
]


class TestAService:
    @pytest.mark.parametrize(("command", "others"), _SERVICES)
    def test_imports_nothing_that_others_use(self, command: tuple[str, str], others: set[str]) -> None:
        _, modules = imported(*command)
        assert modules & others == set()

    @pytest.mark.parametrize(("command", "others"), _SERVICES)
    def test_imports_what_is_large_in_its_command(self, command: tuple[str, str], others: set[str]) -> None:
        """Where no garbage is looked for, and no other command waits for it."""
        before, then = imported(*command)
        assert before & {"fastapi", "grpc", "psycopg", "redis", "sqlalchemy"} == set()
        assert then >= {"psycopg", "sqlalchemy"}
