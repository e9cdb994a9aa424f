"""`colophon watch`: a line for each change as it happens, and a position in the end."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from support.people import PASSWORD, Person
from support.preloaded import PreloadedCommands
from support.services import Colophon
from support.waiting import PATIENCE, patiently
from support.workspace import Workspace

COMMAND = Path(sys.executable).with_name("colophon")
EMMA = {"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"}
ROMOLA = {"title": "Romola", "author": "George Eliot", "publication_date": "1863-01-01"}


@pytest.fixture(scope="module")
def colophon(workspace: Workspace) -> Iterator[Colophon]:
    with Colophon(workspace) as service:
        yield service


@pytest.fixture
async def person(colophon: Colophon) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(base_url=colophon.url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


@pytest.fixture(scope="module")
def token(colophon: Colophon) -> str:
    """An access token that all of them may use, since to hash a password takes long."""
    account = {"email": "ann@example.org", "password": PASSWORD}
    with httpx.Client(base_url=f"{colophon.url}/api/v1/auth", timeout=PATIENCE) as client:
        client.post("/register", json=account).raise_for_status()
        answer = client.post("/login", data={"username": account["email"], "password": PASSWORD})
    return str(answer.raise_for_status().json()["access_token"])


@asynccontextmanager
async def watching(colophon: Colophon, *options: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("watch", *options),
        env={**_own_environment(), **addresses_of(colophon), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def addresses_of(colophon: Colophon) -> dict[str, str]:
    """As the environment says them."""
    return {"COLOPHON_GRPC": colophon.address, "COLOPHON_URL": colophon.url}


def _own_environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("COLOPHON_")}


async def next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await patiently(process.stdout.readline(), "a line is printed")).decode().rstrip("\n")


async def interrupted(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Exit code, what was still printed, and what was said."""
    process.send_signal(signal.SIGINT)
    printed, said = await patiently(process.communicate(), "the program ends")
    return process.returncode, printed.decode(), said.decode()


class TestColophonWatch:
    async def test_each_change_is_the_line_of_the_log_and_ctrl_c_says_where_to_go_on(
        self, colophon: Colophon, person: Person
    ) -> None:
        signed_in = {"COLOPHON_EMAIL": person.email, "COLOPHON_PASSWORD": PASSWORD}
        async with watching(colophon, "--after", "0", **signed_in) as process:
            await person.call("POST", "/books", json=EMMA)
            first = await next_line(process)
            await person.call("POST", "/books", json=ROMOLA)
            second = await next_line(process)
            code, printed, said = await interrupted(process)
        assert [re.sub(r"  trace \w+$", "", line) for line in colophon.output.splitlines() if "  book." in line] == [
            re.sub(r"  position \d+$", "", line) for line in (first, second)
        ]
        position = int(second.rpartition(" ")[2])
        assert (code, printed) == (0, "")
        assert said == f"Seen up to position {position}: --after {position} goes on from there.\n"

        await person.call("POST", "/books", json=EMMA | {"title": "Persuasion"})
        async with watching(colophon, "--after", str(position), "--author", "Jane Austen", **signed_in) as process:
            assert '"Persuasion" by "Jane Austen"' in await next_line(process)
            assert (await interrupted(process))[0] == 0

    async def test_a_program_needs_its_token_alone(self, colophon: Colophon, person: Person) -> None:
        new = {"name": "watch", "scopes": ["books:read"], "current_password": PASSWORD}
        made = await person.call("POST", "/users/me/tokens", json=new)
        async with watching(colophon, "--after", "0", COLOPHON_TOKEN=made.json()["token"]) as process:
            await person.call("POST", "/books", json=EMMA)
            assert "  book.created  " in await next_line(process)
            assert (await interrupted(process))[0] == 0

    @pytest.mark.parametrize(
        ("options", "environment", "code", "said"),
        [
            pytest.param((), {}, 2, "COLOPHON_TOKEN", id="nobody-signed-in"),
            pytest.param((), {"COLOPHON_TOKEN": "none"}, 1, "colophon: ", id="a-token-that-is-not-good"),
            pytest.param(("--after", "1000000"), {}, 1, "colophon: ", id="a-position-never-given"),
            pytest.param(("--server", "books.example.org:1"), {}, 2, "--insecure", id="a-token-over-a-network"),
            pytest.param(("--after", "soon"), {}, 2, "--after", id="a-position-that-is-no-number"),
            pytest.param(("--after", "\udcf8"), {}, 2, "--after", id="a-position-that-is-no-text"),
            pytest.param(
                ("--after", str(2**64 + 5)), {}, 2, "after must be an integer of 64 bits", id="a-position-far-out"
            ),
            pytest.param(("--book", "Emma"), {}, 2, "--book", id="a-book-that-is-no-number"),
            pytest.param(("--book", "9" * 5_000), {}, 2, "--book", id="a-book-of-endless-digits"),
            pytest.param(("--book", str(2**64 + 7)), {}, 2, "book_ids[0] must be an integer", id="a-book-far-out"),
            pytest.param(("--author", "J\udcf8rgen"), {}, 2, "author must be Unicode text", id="an-author-in-latin-1"),
            pytest.param(("--server", "b\udcf8ks:1"), {}, 2, "no address", id="a-server-in-latin-1"),
            pytest.param(("--server", ""), {}, 2, "no address", id="no-server"),
            pytest.param(("--server", "127.0.0.1:port"), {}, 2, "no address", id="a-port-that-is-none"),
            pytest.param((), {"COLOPHON_TOKEN": "two\nlines"}, 2, "COLOPHON_TOKEN", id="a-token-of-two-lines"),
        ],
    )
    def test_what_cannot_be_watched_is_told_in_a_sentence(
        self,
        commands: PreloadedCommands,
        colophon: Colophon,
        token: str,
        tmp_path: Path,
        options: tuple[str, ...],
        environment: dict[str, str],
        code: int,
        said: str,
    ) -> None:
        if options:
            environment = {"COLOPHON_TOKEN": token}
        environment = environment | addresses_of(colophon)
        refused = commands.run("colophon", "watch", *options, environment=environment, folder=tmp_path)
        assert refused.returncode == code, refused.stderr
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
