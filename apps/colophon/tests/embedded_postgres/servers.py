"""What tests ask of servers and of their owners."""

import subprocess
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import psycopg
from colophon.embedded_postgres import process

# These tests kill processes and not machines.
QUICK = {"fsync": "off"}

# Starts a server, says its URL and waits for Ctrl-C; then proves that the server is still there.
OWNER = """
import sys, time, psycopg
from pathlib import Path
from colophon.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as url:
    try:
        print(url, flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(0.3)
        with psycopg.connect(url) as connection:
            print(connection.execute("SELECT 'still there'").fetchone()[0], flush=True)
"""


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return None if row is None else row[0]


def write(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        connection.execute("INSERT INTO note VALUES (%s)", [text])


def url_said_by(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout is not None
    return owner.stdout.readline().strip()


def servers_of(folder: Path) -> list[psutil.Process]:
    return process.processes_in(folder / "cluster")


def postmaster_of(folder: Path) -> psutil.Process:
    """The process that stays; the others come and go."""
    said = process.PidFile.of(folder / "cluster")
    assert said is not None
    return psutil.Process(said.pid)
