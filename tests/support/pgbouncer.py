"""A private PgBouncer, which shares out the sessions of a private PostgreSQL."""

import os
import subprocess
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg

from support.postgresql import PostgreSQLServer
from support.programs import PGBOUNCER, find
from support.server import Server
from support.workspace import Workspace

# PgBouncer refuses to run as root, as PostgreSQL does.
_USER = "nobody" if os.geteuid() == 0 else None


class PgBouncer(Server):
    """In front of a server that runs, for its superuser and all of its databases."""

    name: ClassVar[str] = "pgbouncer"

    def __init__(self, workspace: Workspace, server: PostgreSQLServer, **settings: object) -> None:
        """The ``settings`` are those of pgbouncer.ini, ``pool_mode="session"`` for one; else it has its defaults."""
        super().__init__(workspace)
        self._server = server
        self._settings = settings

    def url_of(self, database: str) -> str:
        """The address of a database of the server, by way of this."""
        return self._server.url_of(database).replace(f":{self._server.port}/", f":{self.port}/")

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = find(PGBOUNCER)
        assert program is not None  # whoever uses the fixture has it
        return self.workspace.spawn([program, self._configured()], log=self.log, cwd=self.folder, user=_USER)

    def _configured(self) -> Path:
        address = urlsplit(self._server.url)
        users = self.folder / "users.txt"
        users.write_text(f'"{address.username}" "{address.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": users,
            **self._settings,
        }
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={self._server.port}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text("\n".join(lines) + "\n")
        return configuration

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
