"""A private RabbitMQ, from Debian's 3.10 to today's 4.x."""

import base64
import http.client
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from support.container import Container
from support.ports import free_port
from support.programs import NotInstalled, find
from support.server import Server
from support.waiting import wait_until
from support.workspace import Workspace

_USER = "tests"
_DISK_LIMIT = "50MB"
"""A nearly full disk is no reason to refuse a test's messages."""
_AMQP_0_9_1 = b"AMQP\x00\x00\x09\x01"


class RabbitMQServer(Server):
    """RabbitMQ; `url` leads to its default virtual host.

    Only one that is `managed` has the management API, and with it virtual hosts for each test: the plugin makes `stop`
    take five seconds longer.
    """

    name: ClassVar[str] = "rabbitmq"

    def __init__(self, workspace: Workspace, *, managed: bool = False, newest: bool = False) -> None:
        """`newest`: RabbitMQ 4 in a container, also where an older one is on this machine."""
        self._is_managed = managed
        self._is_newest = newest
        self._password = secrets.token_hex(8)
        self._management_port = free_port()
        self._numbers = itertools.count(1)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._epmd_port = free_port()
        super().__init__(workspace)
        self.url = self.url_of("/")

    def url_of(self, vhost: str) -> str:
        """The address of one virtual host of this broker."""
        path = "" if vhost == "/" else quote(vhost, safe="")
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}/{path}"

    def create_vhost(self) -> str:
        """Make a virtual host with nothing in it, and return its name."""
        name = f"test-{next(self._numbers)}"
        self.manage("PUT", f"/vhosts/{name}")
        return name

    def drop_vhost(self, name: str) -> None:
        """Drop a virtual host with its queues, and disconnect whoever is in there."""
        self.manage("DELETE", f"/vhosts/{name}")

    def manage(self, method: str, path: str, body: object | None = None) -> object:
        """Call the management API, `path` following `/api`, and return its answer if it gives one.

        Raises:
            ManagementError: the API said no.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._management_port, timeout=10)
        credentials = base64.b64encode(f"{_USER}:{self._password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/api{path}", body=json.dumps(body or {}), headers=headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise ManagementError(method, path, response.status, answer)
        return json.loads(answer) if answer else None

    def kill(self) -> None:
        """Pull the plug.

        A quorum queue that was declared less than a second ago may be broken afterwards: RabbitMQ writes the names of
        new ones down every half second.
        """
        super().kill()

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """For the length of the block it takes no messages, as if its disk were nearly full."""
        self._control("set_disk_free_limit", "1000000GB")
        try:
            yield
        finally:
            self._control("set_disk_free_limit", _DISK_LIMIT)

    def _control(self, *command: str) -> None:
        if self.container:
            self.container.run("rabbitmqctl", *command)
            return
        script = _server_script().with_name("rabbitmqctl")
        arguments = [str(script), "--node", "tests@localhost", *command]
        subprocess.run(arguments, check=True, env=self._environment(), cwd=self.folder, stdout=subprocess.DEVNULL)

    def erase(self) -> None:
        """Lose everything that it kept, as with its disk; for one that is down. It starts as if for the first time."""
        if self.container:
            self.container.remove()
        else:
            shutil.rmtree(self.folder / "data")

    def dispose(self) -> None:
        super().dispose()
        if self._epmd:
            self.workspace.end(self._epmd)
            self._epmd = None

    def _make_container(self) -> Container | None:
        if find("rabbitmq-server") and not self._is_newest:
            return None
        return Container(
            self.workspace,
            "rabbitmq:4-management" if self._is_managed else "rabbitmq:4",
            ports={self.port: 5672, self._management_port: 15672},
            environment={"RABBITMQ_DEFAULT_USER": _USER, "RABBITMQ_DEFAULT_PASS": self._password},
        )

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.container:
            return self.workspace.spawn(self.container.command(), log=self.log, cwd=self.folder)
        if self._epmd is None:
            self._write_configuration()
            self._epmd = self._start_epmd()
        return self.workspace.spawn([_server_script()], log=self.log, cwd=self.folder, env=self._environment())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(_AMQP_0_9_1)
                if not connection.recv(1):
                    return False
            if self._is_managed:
                self.manage("GET", "/whoami")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _write_configuration(self) -> None:
        settings = {
            "listeners.tcp.local": f"127.0.0.1:{self.port}",
            "default_user": _USER,
            "default_pass": self._password,
            "disk_free_limit.absolute": _DISK_LIMIT,
        }
        if self._is_managed:
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": str(self._management_port)}
        (self.folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management]." if self._is_managed else "[].")

    def _start_epmd(self) -> subprocess.Popen[bytes]:
        """Start Erlang's name server for this broker alone: the one that Erlang would start stays for ever."""
        epmd = find("epmd")
        if epmd is None:
            raise NotInstalled("RabbitMQ's epmd, which comes with Erlang, is not on the PATH.")
        arguments = ["-port", str(self._epmd_port), "-address", "127.0.0.1"]
        process = self.workspace.spawn([epmd, *arguments], log=self.folder / "epmd.log", cwd=self.folder)
        wait_until(lambda: _listens(self._epmd_port), "epmd listens")
        return process

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.folder),  # for .erlang.cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            # Without the last three, Erlang's schedulers spin for a while whenever they have nothing to do.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
            " +sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(self.folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
        }


class ManagementError(Exception):
    """RabbitMQ's management API refused a request."""

    def __init__(self, method: str, path: str, status: int, answer: bytes) -> None:
        super().__init__(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        self.status = status


def _server_script() -> Path:
    """The server's own script: what Debian has on the PATH insists on root or rabbitmq, and on the system's folders."""
    unwrapped = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    script = unwrapped if unwrapped.exists() else find("rabbitmq-server")
    assert script, "require() was not called"
    return script


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
