"""A client that a stock generator makes of the document."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.services import RestApi
from support.waiting import PATIENCE
from support.workspace import Workspace

PACKAGE = "generated_colophon_client"
PROGRAMS = Path(sys.executable).parent

Part = Callable[[str], Any]


@pytest.fixture
def rest(workspace: Workspace, database_url: str, tmp_path: Path) -> Iterator[RestApi]:
    make_key_pair(tmp_path / "private.pem", tmp_path / "public.pem")
    environment = {"DATABASE_URL": database_url, "JWT_PRIVATE_KEY_FILE": str(tmp_path / "private.pem")}
    with RestApi(workspace, environment) as rest:
        yield rest


@pytest.fixture
def generated(rest: RestApi, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What the generator said. It writes the package into the test's folder, and formats it with ruff."""
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{rest.url}/api/v1/openapi.json", timeout=PATIENCE).content)
    config = Path(__file__).with_name("openapi-python-client.yaml")
    return subprocess.run(
        [
            PROGRAMS / "openapi-python-client",
            "generate",
            f"--path={document}",
            f"--config={config}",
            f"--output-path={tmp_path / 'clients' / PACKAGE}",
            "--meta=none",
            "--fail-on-warning",
        ],
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def part(
    generated: subprocess.CompletedProcess[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Part]:
    """Imports a module of the client."""
    assert generated.returncode == 0, generated.stdout + generated.stderr
    monkeypatch.syspath_prepend(tmp_path / "clients")
    yield lambda name: importlib.import_module(f"{PACKAGE}{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


class TestAGeneratedClient:
    def test_is_generated_without_a_warning_and_has_every_operation(
        self, rest: RestApi, generated: subprocess.CompletedProcess[str], tmp_path: Path
    ) -> None:
        said = generated.stdout + generated.stderr
        assert generated.returncode == 0, said
        assert "warning" not in said.lower()
        document = httpx.get(f"{rest.url}/api/v1/openapi.json", timeout=PATIENCE).json()
        operations = sum(len(methods) for methods in document["paths"].values())
        made = [path for path in (tmp_path / "clients" / PACKAGE / "api").glob("*/*.py") if path.stem != "__init__"]
        print(f"{operations} operations, {len(made)} generated")
        assert len(made) == operations

    def test_passes_a_session(self, rest: RestApi, part: Part) -> None:
        models = part(".models")
        with part("").Client(base_url=rest.url, timeout=httpx.Timeout(PATIENCE)) as anonymous:
            new = models.UserCreate(email="ada@example.org", password=PASSWORD)
            assert part(".api.auth.register").sync(client=anonymous, body=new).email == "ada@example.org"
            credentials = models.Credentials(username="ada@example.org", password=PASSWORD)
            tokens = part(".api.auth.login").sync(client=anonymous, body=credentials)
        with part("").AuthenticatedClient(
            base_url=rest.url, token=tokens.access_token, timeout=httpx.Timeout(PATIENCE)
        ) as ada:
            _keep_a_book(ada, part)


def _keep_a_book(ada: Any, part: Part) -> None:
    """Creates, reads, lists, changes and removes a book."""
    models = part(".models")
    draft = models.BookDraft(title="Middlemarch", author="G. Eliot", publication_date=date(1871, 12, 1))
    book = part(".api.books.create_book").sync(client=ada, body=draft)
    assert (book.title, book.publication_date, book.version) == ("Middlemarch", date(1871, 12, 1), 1)
    read = part(".api.books.get_book").sync_detailed(book.id, client=ada)
    assert read.parsed == book
    assert part(".api.books.list_books").sync(client=ada, author="G*").books == [book]

    etag = read.headers["etag"]
    change = models.BookChange(author="George Eliot")
    changed = part(".api.books.change_book").sync(book.id, client=ada, body=change, if_match=etag)
    assert (changed.author, changed.version) == ("George Eliot", 2)
    late = part(".api.books.change_book").sync_detailed(book.id, client=ada, body=change, if_match=etag)
    assert late.status_code == 412
    assert isinstance(late.parsed, models.Problem)

    assert part(".api.books.delete_book").sync_detailed(book.id, client=ada).status_code == 204
    gone = part(".api.books.get_book").sync(book.id, client=ada)
    assert isinstance(gone, models.Problem)
    assert (gone.status, gone.type_) == (404, "urn:colophon:book-not-found")
