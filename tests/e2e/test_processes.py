"""How the REST service and the relay start, end, and refuse to start. For grpc-api its own tests say the same."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import OutboxRelay, RestApi
from support.waiting import PATIENCE
from support.workspace import Workspace


def run(*command: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class TestAProcessWithWrongSettings:
    @pytest.mark.parametrize(
        ("command", "variables"),
        [
            (("rest-api", "serve"), ("DATABASE_URL", "JWT_PRIVATE_KEY_FILE", "REST_PORT")),
            (("rest-api", "relay"), ("DATABASE_URL", "AMQP_URL")),
            (("rest-api", "setup"), ("DATABASE_URL", "JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEY_FILE")),
        ],
    )
    def test_names_all_of_them_at_once(self, tmp_path: Path, command: tuple[str, ...], variables: list[str]) -> None:
        refused = run(*command, environment={"REST_PORT": "eighty"}, folder=tmp_path)
        assert refused.returncode == 2
        for variable in variables:
            assert variable in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_does_not_repeat_a_password(self, tmp_path: Path) -> None:
        environment = {"DATABASE_URL": "mysql://me:s3cret@localhost/books", "AMQP_URL": "amqp//me:s3cret@localhost"}
        refused = run("rest-api", "relay", environment=environment, folder=tmp_path)
        assert refused.returncode == 2
        assert "s3cret" not in refused.stderr


class TestAPortThatIsTaken:
    def test_is_a_clear_message(self, workspace: Workspace, database_url: str, keys: dict[str, str]) -> None:
        started = RestApi(workspace, {"DATABASE_URL": database_url, **keys})
        with socket.create_server(("127.0.0.1", started.port)):
            started.launch()
            assert started.wait_for_the_end() == 2
        assert str(started.port) in started.output
        assert "Traceback" not in started.output


class TestSigterm:
    @pytest.mark.parametrize("service", [RestApi, OutboxRelay])
    def test_ends_a_process_that_has_nothing_in_hand_without_delay_and_in_order(
        self,
        workspace: Workspace,
        database_url: str,
        amqp_url: str,
        keys: dict[str, str],
        service: type[RestApi] | type[OutboxRelay],
    ) -> None:
        # An hour that it would wait, were there anything to wait for.
        environment = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, "DRAIN_SECONDS": "3600", **keys}
        started = service(workspace, environment)
        started.start()
        assert started.terminate() == 0
        assert "Traceback" not in started.output
