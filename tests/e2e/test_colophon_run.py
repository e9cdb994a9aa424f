"""`colophon run`: one process, nothing else installed."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_contracts import BookServiceStub, GetBookRequest
from grpclib.client import Channel
from support.preloaded import PreloadedCommands
from support.services import Colophon
from support.waiting import PATIENCE, until
from support.workspace import Workspace

EMAIL, PASSWORD = "ann@example.org", "correct horse battery"
MakeSuperuser = Callable[[Path, str], None]
A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


@pytest.fixture(scope="module")
def make_superuser(commands: PreloadedCommands) -> MakeSuperuser:
    """Runs `colophon create-superuser` in a folder."""

    def make_superuser(folder: Path, email: str) -> None:
        command = ("colophon", "create-superuser", email, "--password-stdin")
        made = commands.run(*command, environment={}, folder=folder, stdin=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr

    return make_superuser


@pytest.fixture(scope="module")
def colophon(workspace: Workspace, make_superuser: MakeSuperuser) -> Iterator[Colophon]:
    """`colophon run` in a folder with a space in its name, with the account of Ann."""
    service = Colophon(workspace, {"NOTICE_SECONDS": "0"})
    service.folder = workspace.make_folder("a folder")
    with service:
        make_superuser(service.folder, EMAIL)
        yield service


@pytest.fixture
def another(workspace: Workspace) -> Colophon:
    """Another one, not started yet."""
    return Colophon(workspace)


def said_by(commands: PreloadedCommands, refused: Colophon) -> str:
    """What one says that does not start."""
    ended = commands.run(*refused.command, *refused._options(), environment=refused.environment, folder=refused.folder)
    assert ended.returncode == 2, ended.stderr
    return ended.stdout + ended.stderr


@contextmanager
def signed_in(colophon: Colophon, email: str = EMAIL) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{colophon.url}/api/v1", timeout=PATIENCE) as client:
        token = client.post("/auth/login", data={"username": email, "password": PASSWORD}).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def ids_of_books(client: httpx.Client) -> list[int]:
    return [book["id"] for book in client.get("/books").json()["books"]]


class TestColophonRun:
    async def test_serves_both_and_prints_the_events(self, colophon: Colophon) -> None:
        with signed_in(colophon) as client:
            book: dict[str, Any] = client.post("/books", json=A_BOOK).json()
            assert client.get("/users/me").json()["is_superuser"] is True
            token = client.headers["authorization"]
        host, _, port = colophon.address.partition(":")
        async with Channel(host, int(port)) as channel:
            read = await BookServiceStub(channel, metadata={"authorization": token}).get_book(
                GetBookRequest(id=book["id"])
            )
        assert read.book is not None
        assert (read.book.title, read.book.version) == ("Middlemarch", 1)
        printed = f"book.created  book {book['id']} v1"
        await until(lambda: printed in colophon.output, "the event is printed")
        assert f"{colophon.url}/docs" in colophon.output
        assert colophon.address in colophon.output

    @pytest.mark.parametrize("end", [Colophon.interrupt, Colophon.terminate, Colophon.kill])
    def test_keeps_its_books_over_every_kind_of_end(
        self, colophon: Colophon, end: Callable[[Colophon], int | None]
    ) -> None:
        with signed_in(colophon) as client:
            ids = [*ids_of_books(client), client.post("/books", json=A_BOOK).json()["id"]]
        assert end(colophon) in (0, None)
        colophon.start()
        with signed_in(colophon) as client:
            assert ids_of_books(client) == ids

    def test_lets_a_superuser_be_made_while_it_runs(self, colophon: Colophon, make_superuser: MakeSuperuser) -> None:
        assert "There is no account yet" in colophon.output
        make_superuser(colophon.folder, "eve@example.org")
        with signed_in(colophon, "eve@example.org") as client:
            assert client.get("/users/me").json()["email"] == "eve@example.org"

    def test_lets_a_superuser_be_made_before_it_runs(self, colophon: Colophon, make_superuser: MakeSuperuser) -> None:
        assert colophon.terminate() == 0
        make_superuser(colophon.folder, "bea@example.org")
        colophon.start()
        with signed_in(colophon, "bea@example.org") as client:
            assert client.get("/users/me").json()["is_superuser"] is True

    @pytest.mark.parametrize("taken", ["port", "grpc_port"])
    def test_says_when_a_port_is_taken(self, commands: PreloadedCommands, another: Colophon, taken: str) -> None:
        port = getattr(another, taken)
        with socket.create_server(("127.0.0.1", port)):
            said = said_by(commands, another)
        assert f"port {port}: it is taken" in said
        assert "Traceback" not in said
        assert not (another.folder / ".data").exists(), "nothing was begun"

    def test_says_when_its_data_are_in_use(
        self, commands: PreloadedCommands, colophon: Colophon, another: Colophon
    ) -> None:
        another.folder = colophon.folder
        said = said_by(commands, another)
        assert "is in use by" in said
        assert "Traceback" not in said
