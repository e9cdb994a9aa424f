"""The documents say what is there: files, settings, metrics, errors, and code that runs."""

import asyncio
import importlib
import inspect
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest
from book_contracts.events import ALL_EVENTS, EXCHANGE
from book_db.book import Book
from book_db.events.log import EventLog
from book_db.events.model import BookEvent
from book_db.events.outbox import OutboxEvent
from book_db.postgres.database import Database
from book_db.settings import DatabaseSettings
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, DeadLetters, Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed
from book_runtime.settings import Settings
from colophon import cli, running
from grpc_api import errors as grpc_errors
from grpc_api import guard, server
from grpc_api.consumer import BOOK_LOG, EventRecorder
from grpc_api.settings import GrpcSettings
from prometheus_client import REGISTRY
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rest_api import fast_path, observed
from rest_api.relay import relay
from rest_api.relay.events import message_of
from rest_api.relay.settings import RelaySettings
from rest_api.setting_up import SetupSettings
from rest_api.settings import RestSettings
from support.node import NodeProject
from support.people import PASSWORD
from support.services import Colophon
from support.waiting import PATIENCE, patience, patiently, until
from support.workspace import Workspace

ROOT = Path(__file__).parents[1]
SOURCES = [*ROOT.glob("packages/*/src"), *ROOT.glob("apps/*/src")]
MEASURING = (guard, server, observed, relay)
"""What declares metrics when it is imported, or imports what does."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _documents() -> list[Path]:
    """All, but for what tools keep in hidden folders, and npm in its own."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [*ROOT.glob("*.md"), *(document for folder in folders for document in folder.rglob("*.md"))]
    return sorted(document for document in found if "node_modules" not in document.parts)


def _named(document: Path) -> str:
    return str(document.relative_to(ROOT))


def _snippets(document: str, language: str) -> list[str]:
    return [code for found, code in _FENCE.findall((ROOT / document).read_text()) if found == language]


def _prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text())


def _rows(document: str, first_column: str) -> list[list[str]]:
    """The cells of the table whose first column has this name."""
    table = (ROOT / document).read_text().partition(f"\n| {first_column} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        for line in table.splitlines()[2:]
    ]


def _anchors(document: Path) -> set[str]:
    """What GitHub calls the headings."""
    headings = re.findall(r"^#+ (.*)$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", _documents(), ids=_named)
class TestADocument:
    def test_links_to_what_is_there(self, document: Path) -> None:
        links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(document))
        for link in links:
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target), link

    def test_names_files_that_are_there(self, document: Path) -> None:
        named = re.findall(r"`((?:packages|apps|docs|tests|tools|examples)/[\w./-]+)`", _prose(document))
        assert [path for path in named if not (ROOT / path).exists()] == []

    def test_calls_a_file_by_the_end_of_its_path(self, document: Path) -> None:
        links = re.findall(r"\[`([\w./-]+\.py)`\]\(([^)\s]+)\)", _prose(document))
        assert [(name, path) for name, path in links if not path.endswith(f"/{name}")] == []

    def test_names_commands_of_the_makefile(self, document: Path) -> None:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(re.findall(r"`make ([a-z-]+)", _prose(document))) <= set(targets)

    def test_has_python_that_compiles(self, document: Path) -> None:
        for code in _snippets(_named(document), "python"):
            compile(code, _named(document), "exec")


_NO_PROSE = re.compile(r"^(?:\||#| {4}|<!--).*$|\]\([^)]*\)", re.MULTILINE)
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )")


def _sentences(document: Path) -> Iterator[str]:
    """Without tables, headings, code of several lines and the targets of links. What stands in backticks is a word."""
    prose = re.sub(r"`[^`]*`", "code", _NO_PROSE.sub("", _prose(document)))
    for block in _BLOCK.split(prose):
        yield from re.split(r"(?<=[.!?])[*\"')]*\s+", " ".join(block.split()))


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=_named
)
class TestTheProse:
    def test_has_no_sentence_of_more_than_forty_words(self, document: Path) -> None:
        assert [sentence for sentence in _sentences(document) if len(re.findall(r"\S*\w\S*", sentence)) > 40] == []


DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))

_HEAD_OF_A_DECISION = re.compile(
    r"# (?P<number>\d+)\. (?P<title>[^\n]+)\n\n"
    r"Status: (?P<status>accepted|(?:amended|superseded) by .+?)\.\s"
    r"Date:\s(?P<date>[\d-]{10})\.\sArea:\s(?P<area>\w+)\.\n"
    r"(?:\nAmends: (?P<amends>.+?)\.\n\n)?",
    re.DOTALL,
)


def _head(page: Path) -> Mapping[str, str]:
    """What stands at the head of the page of a decision, each on one line."""
    found = _HEAD_OF_A_DECISION.match(page.read_text())
    assert found, page
    return {name: " ".join((value or "").split()) for name, value in found.groupdict().items()}


def _linked(text: str) -> set[str]:
    """The decisions that a text links to by their numbers."""
    return set(re.findall(r"\[(\d+)\]\(", text))


class TestTheDecisions:
    def test_are_numbered_without_gaps(self) -> None:
        assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))

    def test_are_all_in_the_index_as_they_say_of_themselves(self) -> None:
        heads = [(_head(page), page.name) for page in DECISIONS]
        assert _rows("docs/decisions/README.md", "No.") == [
            [head["number"], f"[{head['title']}]({name})", head["area"], head["date"], head["status"]]
            for head, name in heads
        ]

    @pytest.mark.parametrize("page", DECISIONS, ids=_named)
    def test_say_on_both_pages_which_amends_which(self, page: Path) -> None:
        number = str(int(page.name[:4]))
        amending = {head["number"] for head in map(_head, DECISIONS) if number in _linked(head["amends"])}
        assert _linked(_head(page)["status"]) == amending

    @pytest.mark.parametrize("page", DECISIONS, ids=_named)
    def test_say_what_each_later_one_has_replaced(self, page: Path) -> None:
        replaced = re.findall(r"^- \[(\d+)\]\(", page.read_text(), re.MULTILINE)
        assert set(replaced) == _linked(_head(page)["status"])

    def test_that_the_code_names_are_there(self) -> None:
        code = [file for source in SOURCES for file in source.rglob("*.py")]
        named = {name for file in code for name in re.findall(r"docs/decisions/([\w.-]*\w)", file.read_text())}
        assert [name for name in named if not any(page.name.startswith(name) for page in DECISIONS)] == []


class TestTheGlossary:
    text = (ROOT / "docs/glossary.md").read_text()
    places = re.findall(r"((?:`[\w.]+`(?:, )?)+) in \[`[\w./-]+`\]\(\.\./([\w./-]+)\)", text)

    @pytest.mark.parametrize(("names", "file"), places)
    def test_names_what_is_in_the_code(self, names: str, file: str) -> None:
        source = (ROOT / file).read_text()
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", names):
            assert re.search(rf"^ *(?:(?:async )?def |class )?{name}\b(?=[(:\[]| *[:=])", source, re.MULTILINE), name

    def test_says_of_every_term_where_it_is(self) -> None:
        rows = re.findall(r"^\| (?!Term)(.*) \| .* \| (.*) \|$", self.text, re.MULTILINE)
        assert len(rows) > 30
        assert [term for term, where in rows if "](../" not in where] == []


class TestTheClaims:
    """Of the README, of CONTRIBUTING and of docs/architecture.md, about what stands elsewhere."""

    @pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
    def test_name_the_three_routes_of_the_fast_path_and_its_file(self, document: str) -> None:
        sources = "".join(file.read_text() for file in Path(fast_path.__file__).parent.rglob("*.py"))
        endpoints = re.findall(r"^@fast_path\(.*\)\nasync def (\w+)", sources, re.MULTILINE)
        [said] = re.findall(r"Three routes\b[^.;]*", (ROOT / document).read_text())
        operations = re.findall(r"`(\w+)`", said)
        assert {re.sub(r"[A-Z]", r"_\g<0>", operation).lower() for operation in operations} == set(endpoints)
        assert len(endpoints) == 3
        assert f"/rest_api/{Path(fast_path.__file__).name})" in (ROOT / document).read_text()

    def test_have_every_member_in_a_row_of_its_own(self) -> None:
        members = [str(project.parent.relative_to(ROOT)) for project in ROOT.glob("*/*/pyproject.toml")]
        assert sorted(row[0].strip("`") for row in _rows("docs/architecture.md", "Member")) == sorted(members)

    def test_show_the_layers_that_are_checked(self) -> None:
        [shown] = _snippets("docs/architecture.md", "")
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        [layers] = [contract["layers"] for contract in contracts if contract["id"] == "one-way"]
        assert [line.partition("  ")[0].strip() for line in shown.splitlines()] == layers

    def test_name_the_oldest_python(self) -> None:
        oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
        for document in ("README.md", "CONTRIBUTING.md"):
            [said] = re.findall(r"Python (\S+) or newer", (ROOT / document).read_text())
            assert oldest.startswith(f">={said}")

    def test_name_the_ports_that_are_the_default(self) -> None:
        options = inspect.signature(cli.run).parameters
        ports = {str(options[name].default) for name in ("rest_port", "grpc_port")}
        assert set(re.findall(r"127\.0\.0\.1:(\d+)", (ROOT / "README.md").read_text())) == ports

    def test_give_each_promise_code_and_tests(self) -> None:
        for promise, kept, tested in _rows("docs/architecture.md", "Promise"):
            assert promise
            assert kept
            assert re.fullmatch(r"`[\w/-]*tests/[\w/.-]*`(?:, `[\w/-]*tests/[\w/.-]*`)*", tested), promise


READERS: Mapping[str, Sequence[type[Settings]]] = {
    "setup": [SetupSettings],
    "rest": [RestSettings],
    "relay": [RelaySettings],
    "grpc": [GrpcSettings],
    "run": [running.DatabaseSettings, running.RunSettings],
    "book-db": [DatabaseSettings],
}
"""What each process loads, in that order."""


def _settings_classes() -> list[type[Settings]]:
    """All that the members define, those of no process of its own included."""
    found = []
    for source in SOURCES:
        for file in source.rglob("*.py"):
            names = re.findall(r"^class (\w+)\([^)]*Settings\b[^)]*\):", file.read_text(), re.MULTILINE)
            module = ".".join(file.relative_to(source).with_suffix("").parts)
            found += [getattr(importlib.import_module(module), name) for name in names if name != "Settings"]
    return [each for each in found if issubclass(each, Settings)]


class TestTheTableOfSettings:
    rows = _rows("docs/operations.md", "Variable")

    def test_has_every_setting_and_nothing_else(self) -> None:
        fields = {name.upper() for settings in _settings_classes() for name in settings.model_fields}
        assert sorted(row[0].strip("`") for row in self.rows) == sorted(fields)

    @pytest.mark.parametrize("row", rows, ids=lambda row: row[0])
    def test_says_who_reads_it_and_the_default(self, row: list[str]) -> None:
        variable, default, readers, _meaning = row
        said, _, for_run = default.partition("; `run`:")
        for reader in readers.split(", "):
            field = _field(reader, variable.strip("`").lower())
            if reader == "run" and for_run:
                assert not field.is_required()
            elif said == "required":
                assert field.is_required()
            else:
                assert field.get_default() is not PydanticUndefined
                assert _as_typed(field.get_default()) == said.strip("`")


def _field(reader: str, name: str) -> FieldInfo:
    return next(settings.model_fields[name] for settings in READERS[reader] if name in settings.model_fields)


def _as_typed(value: object) -> str:
    """A value as one would put it into the environment."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class TestTheOtherTables:
    def test_every_metric_is_told_of(self) -> None:
        assert MEASURING
        told = {name for row in _rows("docs/operations.md", "Metric") for name in re.findall(r"`(\w+)`", row[0])}
        exposed = {
            f"{metric.name}_total" if metric.type == "counter" else metric.name
            for metric in REGISTRY.collect()
            if metric.name.startswith(("colophon_", "broker_"))
        }
        assert told == exposed

    def test_every_reason_of_an_error_is_told_of(self) -> None:
        told = {row[1].strip("`") for row in _rows("docs/grpc.md", "Code")}
        source = Path(grpc_errors.__file__).read_text()
        assert told == set(re.findall(r'(?:_info\(|_invalid\(\w+, )"([A-Z_]+)"', source))


@pytest.fixture(scope="class")
def colophon(workspace: Workspace) -> Iterator[Colophon]:
    with Colophon(workspace) as service:
        yield service


@pytest.fixture(scope="class")
def token(colophon: Colophon) -> str:
    return _token_after_adding_books(colophon.url)


def _token_after_adding_books(url: str) -> str:
    with httpx.Client(base_url=f"{url}/api/v1", timeout=PATIENCE) as client:
        client.post("/auth/register", json={"email": "ann@example.org", "password": PASSWORD}).raise_for_status()
        login = client.post("/auth/login", data={"username": "ann@example.org", "password": PASSWORD})
        token = str(login.json()["access_token"])
        books = [
            {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"},
            {"title": "Romola", "author": "George Eliot", "publication_date": "1863-01-01"},
            {"title": "Shirley", "author": "Charlotte Brontë", "publication_date": "1849-10-26"},
        ]
        headers = {"authorization": f"Bearer {token}"}
        client.post("/books/batch", json={"books": books}, headers=headers).raise_for_status()
        return token


class TestTheExamplesOfGrpc:
    def test_print_what_stands_below_them(self, colophon: Colophon, token: str) -> None:
        environment = {**os.environ, "TOKEN": token}
        for code, said in _examples_with_output("docs/grpc.md"):
            done = subprocess.run(
                [sys.executable, "-c", code.replace("50051", str(colophon.grpc_port))],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)

    def test_in_another_language_prints_it_too(self, colophon: Colophon, token: str, node: NodeProject) -> None:
        [(code, said)] = re.findall(
            r"^```js\n(.*?)^```\n\n```text\n(.*?)^```", (ROOT / "docs/grpc.md").read_text(), re.MULTILINE | re.DOTALL
        )
        here = code.replace("50051", str(colophon.grpc_port)).replace('"packages/', f'"{ROOT}/packages/')
        done = node.run("-e", here, environment={"TOKEN": token})
        now = r"seconds: '\d+', nanos: \d+"
        assert (re.sub(now, "now", done.stdout), done.stderr) == (re.sub(now, "now", said), "")


def _examples_with_output(document: str) -> list[tuple[str, str]]:
    """Each Python example with the text that follows it."""
    blocks = _FENCE.findall((ROOT / document).read_text())
    pairs = itertools.pairwise(blocks)
    examples = [(code, said) for (language, code), (_, said) in pairs if language == "python"]
    assert len(examples) == 4
    return examples


def _message(kind: str, title: str, version: int) -> Message:
    now = datetime.now(UTC)
    book = Book(2, title, "George Eliot", date(1863, 1, 1), version, now, now)
    return message_of(OutboxEvent(version, None, BookEvent(uuid4(), kind, str(uuid4()), now, book)))


class TestTheExamplesOfEvents:
    async def test_the_consumer_prints_what_stands_below_it(self, amqp_url: str) -> None:
        [consumer] = _snippets("docs/events.md", "python")
        [said] = re.findall(
            r"^created 2 v1.*?(?=^```)", (ROOT / "docs/events.md").read_text(), re.MULTILINE | re.DOTALL
        )
        created, updated = _message("created", "Romola", 1), _message("updated", "Romola. A novel", 2)
        broken = Message(
            id="broken",
            type=created.type,
            routing_key=created.routing_key,
            body=b"\xff\xff",
            content_type=created.content_type,
            timestamp=created.timestamp,
        )
        async with _program(consumer, amqp_url) as process, AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            assert process.stdout
            await publisher.ready()
            await until(lambda: _is_taken(publisher, created), "the consumer has bound its queue")
            await publisher.publish([broken, updated])
            async with patience("the consumer has printed all"):
                lines = [await process.stdout.readline() for _ in range(said.count("\n"))]
            assert b"".join(lines).decode() == said
            assert await _first_dead_letter(amqp_url, _SHOP) == "broken"

    async def test_the_commands_for_dead_letters_print_what_stands_below_them(self, amqp_url: str) -> None:
        [session] = re.findall(
            r"<!-- dead letters -->\n```console\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL
        )
        log = EventRecorder(EventLog(Database.open("postgresql://not-asked-for-what-is-no-event/")))
        no_event = replace(_message("created", "Romola", 1), id="made-by-hand", body=b"\xff\xff")
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, AmqpConsumer(amqp_url, BOOK_LOG).consuming(log):
            await publisher.ready()
            await until(lambda: _is_taken(publisher, no_event), "the queue of the log is bound")
            assert await _first_dead_letter(amqp_url, BOOK_LOG) == "made-by-hand"
        for command, said in re.findall(r"^\$ colophon (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE):
            async with _program("from colophon.cli import main; main()", amqp_url, *command.split()) as process:
                printed, _ = await patiently(process.communicate(), "the command ends")
            assert _without_times(printed.decode()) == _without_times(said)


_SHOP: Final = Topology(
    exchange=EXCHANGE,
    queue="shop.books",
    binding_keys=[ALL_EVENTS],
    dead_letter_exchange="shop.books.dead-letters",
    dead_letter_queue="shop.books.dead-letters",
)
"""The consumer of the document."""


async def _first_dead_letter(amqp_url: str, topology: Topology) -> str:
    """What it is called; waited for."""

    async def first() -> str:
        async with DeadLetters.exclusive(amqp_url, topology) as letters:
            async for letter in letters:
                return letter.key
        return ""

    return await until(first, "there is a dead letter")


def _without_times(printed: str) -> str:
    return re.sub(r"[\d-]{10} [\d:]{8}Z", "", printed)


async def _is_taken(publisher: AmqpPublisher, message: Message) -> bool:
    try:
        await publisher.publish([message])
    except NotConfirmed:
        return False
    return True


@asynccontextmanager
async def _program(code: str, amqp_url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env={**os.environ, "AMQP_URL": amqp_url}, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
