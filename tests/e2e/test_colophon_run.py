"""`colophon run`: one process, nothing else installed."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_contracts import BookServiceStub, GetBookRequest
from grpclib.client import Channel
from support.services import Colophon
from support.workspace import Workspace

EMAIL, PASSWORD = "ann@example.org", "correct horse battery"
A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


@pytest.fixture
def colophon(workspace: Workspace) -> Iterator[Colophon]:
    """`colophon run` in a folder with a space in its name, not started yet."""
    with_space = workspace.make_folder("a folder")
    service = Colophon(workspace)
    service.folder = with_space
    yield service
    service.kill()


def make_superuser(folder: Path, email: str = EMAIL) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("colophon"), "create-superuser", email, "--password-stdin"],
        input=f"{PASSWORD}\n",
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def signed_in(colophon: Colophon, email: str = EMAIL) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{colophon.url}/api/v1", timeout=30) as client:
        token = client.post("/auth/login", data={"username": email, "password": PASSWORD}).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def wait_for(condition: Callable[[], bool], within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class TestColophonRun:
    async def test_serves_both_and_prints_the_events(self, colophon: Colophon) -> None:
        made = make_superuser(colophon.folder)
        assert made.returncode == 0, made.stderr
        colophon.start()
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
        wait_for(lambda: f"book.created  book {book['id']} v1" in colophon.output)
        assert f"{colophon.url}/docs" in colophon.output
        assert colophon.address in colophon.output

    def test_keeps_its_books_over_every_kind_of_end(self, colophon: Colophon) -> None:
        make_superuser(colophon.folder)
        ids: list[int] = []
        taken: list[float] = []
        for end in (colophon.interrupt, colophon.terminate, colophon.kill, colophon.interrupt):
            began = time.monotonic()
            colophon.start()
            taken.append(time.monotonic() - began)
            with signed_in(colophon) as client:
                ids.append(client.post("/books", json=A_BOOK).json()["id"])
                assert [book["id"] for book in client.get("/books").json()["books"]] == ids
            assert end() in (0, None)
        # The best of three, since other tests run at the same time.
        print(f"ready {min(taken[1:]):.2f} s after a later start")
        assert min(taken[1:]) < 5

    def test_lets_a_superuser_be_made_while_it_runs(self, colophon: Colophon) -> None:
        colophon.start()
        assert "There is no account yet" in colophon.output
        made = make_superuser(colophon.folder, "eve@example.org")
        assert made.returncode == 0, made.stderr
        with signed_in(colophon, "eve@example.org") as client:
            assert client.get("/users/me").json()["email"] == "eve@example.org"

    @pytest.mark.parametrize("taken", ["port", "grpc_port"])
    def test_says_when_a_port_is_taken(self, colophon: Colophon, taken: str) -> None:
        port = getattr(colophon, taken)
        with socket.create_server(("127.0.0.1", port)):
            colophon.launch()
            assert colophon.wait_for_the_end(within=30) == 2
        assert f"port {port}: it is taken" in colophon.output
        assert "Traceback" not in colophon.output
        assert not (colophon.folder / ".data").exists(), "nothing was begun"

    def test_says_when_its_data_are_in_use(self, colophon: Colophon, workspace: Workspace) -> None:
        colophon.start()
        second = Colophon(workspace)
        second.folder = colophon.folder
        second.launch()
        assert second.wait_for_the_end(within=30) == 2
        assert "is in use by" in second.output
        assert "Traceback" not in second.output
