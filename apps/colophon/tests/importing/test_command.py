"""The whole command; the API is played by respx, since here it is what goes out that counts."""

import csv
import gzip
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import respx
import typer
from colophon.importing import file_import
from colophon.importing.command import import_books
from typer.testing import CliRunner, Result

URL = "http://127.0.0.1:8000"
LOGIN = f"{URL}/api/v1/auth/login"
BATCH = f"{URL}/api/v1/books/batch"
TOKEN = httpx.Response(200, json={"access_token": "token-1", "token_type": "bearer"})
CREATED = httpx.Response(201, json={"books": []})
REPLAYED = httpx.Response(201, json={"books": []}, headers={"Idempotent-Replayed": "true"})

Answer = Callable[[httpx.Request], httpx.Response]

app = typer.Typer()
app.command()(import_books)


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.post(LOGIN).mock(return_value=TOKEN)
        router.post(BATCH).mock(return_value=CREATED)
        yield router


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many seconds were slept each time, for none were."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Line 2 is book 1, and so on up to book 5."""
    return a_file(tmp_path, [f"Book {number},Somebody,18{number:02}" for number in range(1, 6)])


def a_file(folder: Path, lines: list[str]) -> Path:
    path = folder / "books.csv"
    path.write_text("\n".join(["title,author,publication_date", *lines, ""]))
    return path


def run(file: Path, *options: str) -> Result:
    environment = {"COLOPHON_EMAIL": "ann@example.org", "COLOPHON_PASSWORD": "correct horse battery"}
    return CliRunner(env=environment).invoke(app, [str(file), *options])


def without_a_box(result: Result) -> str:
    """What typer says of a wrong command line, without the lines around it."""
    return " ".join(result.stderr.replace("│", "").split())


def sent(api: respx.MockRouter) -> list[list[str]]:
    """The titles in each batch that went out."""
    calls = [call for call in api.calls if str(call.request.url) == BATCH]
    return [[book["title"] for book in json.loads(call.request.content)["books"]] for call in calls]


def keys(api: respx.MockRouter) -> list[str]:
    """The idempotency key of each batch that went out."""
    return [call.request.headers["Idempotency-Key"] for call in api.calls if str(call.request.url) == BATCH]


def a_problem(
    status: int, detail: str = "No.", *, headers: dict[str, str] | None = None, **more: object
) -> httpx.Response:
    document = {"status": status, "title": "x", "detail": detail, **more}
    content_type = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, json=document, headers={**content_type, **(headers or {})})


def answers(*each: httpx.Response | Exception | Answer) -> Answer:
    """One after the other, the last again and again."""
    left = list(each)

    def answer(request: httpx.Request) -> httpx.Response:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, Exception):
            raise now
        return now if isinstance(now, httpx.Response) else now(request)

    return answer


class TestLoading:
    def test_every_book_goes_out_once_in_the_order_of_the_file(self, api: respx.MockRouter, file: Path) -> None:
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 0
        assert sent(api) == [["Book 1", "Book 2"], ["Book 3", "Book 4"], ["Book 5"]]
        assert "5 rows read" in result.stdout
        assert "5 loaded" in result.stdout
        assert "5 of them with a bare year" in result.stdout

    def test_a_book_is_sent_as_the_api_wants_it(self, api: respx.MockRouter, tmp_path: Path) -> None:
        run(a_file(tmp_path, [" Émile ,Rousseau,1762"]))
        request = api.calls.last.request
        assert json.loads(request.content) == {
            "books": [{"title": "Émile", "author": "Rousseau", "publication_date": "1762-01-01"}]
        }
        assert request.headers["Authorization"] == "Bearer token-1"
        assert request.headers["Content-Type"] == "application/json"

    def test_the_login_is_the_form_of_oauth2(self, api: respx.MockRouter, file: Path) -> None:
        run(file)
        assert api.calls[0].request.content == b"username=ann%40example.org&password=correct+horse+battery"

    def test_a_batch_is_bounded_by_bytes_too(
        self, api: respx.MockRouter, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_import, "BATCH_BYTES", 150)
        run(file)
        assert [len(titles) for titles in sent(api)] == [2, 2, 1]

    def test_from_line_leaves_out_what_starts_before(self, api: respx.MockRouter, file: Path) -> None:
        result = run(file, "--from-line", "5")
        assert sent(api) == [["Book 4", "Book 5"]]
        assert "2 rows read" in result.stdout

    def test_another_url(self, file: Path) -> None:
        with respx.mock(base_url="https://books.example.org/sub") as router:
            router.post("/api/v1/auth/login").mock(return_value=TOKEN)
            router.post("/api/v1/books/batch").mock(return_value=CREATED)
            assert run(file, "--url", "https://books.example.org/sub/").exit_code == 0

    def test_a_file_without_rows_is_loaded_at_once(self, api: respx.MockRouter, tmp_path: Path) -> None:
        result = run(a_file(tmp_path, []))
        assert (result.exit_code, sent(api)) == (0, [])
        assert "0 rows read" in result.stdout


class TestRefusedRows:
    def test_they_are_reported_and_the_others_loaded(self, api: respx.MockRouter, tmp_path: Path) -> None:
        result = run(a_file(tmp_path, ["A,B,1800", "C,D,", "E,F,18??", "G,H,1801"]))
        assert result.exit_code == 1
        assert sent(api) == [["A", "G"]]
        assert "2 refused" in result.stdout
        assert "line 3: no date\n" in result.stdout
        assert "line 4: '18??' is neither a date (YYYY-MM-DD) nor a year\n" in result.stdout

    def test_the_first_twenty_are_shown_and_all_are_written(self, api: respx.MockRouter, tmp_path: Path) -> None:
        file = a_file(tmp_path, [f'"A\n{number}",B,' for number in range(25)])
        assert "... and 5 more, --report FILE writes all" in run(file, "--dry-run").stdout
        result = run(file, "--dry-run", "--report", str(tmp_path / "refused.csv"))
        assert "... and 5 more\n" in result.stdout
        with (tmp_path / "refused.csv").open(newline="") as report:
            written = list(csv.reader(report))
        assert written[0] == ["line", "last_line", "reason", "title", "author", "publication_date"]
        assert written[1] == ["2", "3", "title must not contain the character U+000A", "A\n0", "B", ""]
        assert "lines 2 to 3: title must not contain the character U+000A\n" in result.stdout
        assert [row[0] for row in written[1:]] == [str(2 + 2 * number) for number in range(25)]

    def test_the_services_own_refusals_name_their_lines_and_the_rest_is_sent_again(
        self, api: respx.MockRouter, file: Path
    ) -> None:
        errors = [
            {"pointer": "/books/1/title", "detail": "is a rude word"},
            {"pointer": "/books/3/author", "detail": "is unknown here"},
            {"pointer": "/books/3", "detail": "is a duplicate"},
        ]
        api.post(BATCH).mock(side_effect=answers(a_problem(422, errors=errors), CREATED))
        result = run(file)
        assert result.exit_code == 1
        assert sent(api)[1] == ["Book 1", "Book 3", "Book 5"]
        assert "3 loaded" in result.stdout
        assert "3 of them with a bare year" in result.stdout
        assert "line 3: title is a rude word\n" in result.stdout
        assert "line 5: author is unknown here; is a duplicate\n" in result.stdout

    def test_a_batch_of_which_nothing_is_left_is_not_sent_again(self, api: respx.MockRouter, tmp_path: Path) -> None:
        errors = [{"pointer": "/books/0/title", "detail": "is a rude word"}]
        api.post(BATCH).mock(return_value=a_problem(422, errors=errors))
        result = run(a_file(tmp_path, ["A,B,1800"]))
        assert (result.exit_code, len(sent(api))) == (1, 1)
        assert "0 loaded" in result.stdout

    @pytest.mark.parametrize(
        "errors",
        [
            pytest.param([], id="no-pointers"),
            pytest.param([{"pointer": "/books", "detail": "x"}], id="not-a-book"),
            pytest.param([{"pointer": "/books/17/title", "detail": "x"}], id="not-in-the-batch"),
            pytest.param("nonsense", id="not-a-list"),
        ],
    )
    def test_a_refusal_that_names_no_book_ends_the_import(
        self, api: respx.MockRouter, file: Path, errors: object
    ) -> None:
        api.post(BATCH).mock(return_value=a_problem(422, "Not valid.", errors=errors))
        result = run(file)
        assert result.exit_code == 1
        assert "Nothing was loaded" in result.stderr
        assert len(sent(api)) == 1


class TestAStrayQuote:
    def test_costs_its_own_row_and_is_reported(self, api: respx.MockRouter, tmp_path: Path) -> None:
        file = a_file(
            tmp_path, ['"A,Doe,1999', "B,Doe,1999", 'C "6" x,Poe,1971', "D,Roe,1972", '"E,Roe,1973', "F,Roe,1974"]
        )
        report = tmp_path / "refused.csv"
        result = run(file, "--report", str(report))
        assert result.exit_code == 1
        assert sent(api) == [["B", 'C "6" x', "D", "F"]]
        assert "6 rows read" in result.stdout
        assert "4 loaded" in result.stdout
        assert "line 2: not valid CSV: a quote is opened that line 4 closes, with text behind it\n" in result.stdout
        with report.open(newline="") as written:
            assert [row[:2] + row[3:] for row in csv.reader(written)][1:] == [
                ["2", "2", '"A,Doe,1999'],
                ["6", "6", '"E,Roe,1973'],
            ]

    def test_of_thousands_of_rows_costs_none_but_its_own(self, api: respx.MockRouter, tmp_path: Path) -> None:
        rows = [f"Book {number},Somebody,1871" for number in range(3_000)]
        result = run(a_file(tmp_path, ['"A,Doe,1999', *rows]), "--batch-size", "1000")
        assert result.exit_code == 1
        assert [len(titles) for titles in sent(api)] == [1_000, 1_000, 1_000]
        assert "3,000 loaded" in result.stdout
        assert "1 refused" in result.stdout

    def test_does_not_move_the_line_to_go_on_from(self, api: respx.MockRouter, tmp_path: Path) -> None:
        file = a_file(tmp_path, ["A,B,1800", '"C,D,1801', "E,F,1802", "G,H,1803", "I,J,1804"])
        api.post(BATCH).mock(side_effect=answers(CREATED, a_problem(403), CREATED))
        broken_off = run(file, "--batch-size", "2")
        assert "Everything up to line 4 is loaded; go on with --from-line 5." in broken_off.stderr
        assert run(file, "--batch-size", "2", "--from-line", "5").exit_code == 0
        assert sent(api) == [["A", "E"], ["G", "I"], ["G", "I"]]
        assert len(set(keys(api))) == 2


class TestWhatSpreadsheetsWrite:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(
                "title\tauthor\tpublication_date\r\nÉmile\tR, J\t1762\r\n".encode("utf-16"), id="unicode-text"
            ),
            pytest.param(
                "sep=;\r\ntitle;author;publication_date\r\nÉmile;R, J;1762\r\n".encode("utf-8-sig"), id="sep-semicolon"
            ),
            pytest.param("title;author;publication_date\nÉmile;R, J;1762\n".encode(), id="semicolon"),
            pytest.param("title|author|publication_date\nÉmile|R, J|1762\n".encode(), id="pipe"),
            pytest.param("title\tauthor\tpublication_date\nÉmile\tR, J\t1762".encode("utf-32"), id="utf-32"),
            pytest.param('id,title,author,publication_date\rx\xff,Émile,"R, J",1762'.encode(), id="cr"),
            pytest.param(
                b'id,title,author,publication_date\nx\xff,\xc3\x89mile,"R, J",1762', id="bad-byte-in-another-column"
            ),
        ],
    )
    def test_is_read_without_being_told_how(self, api: respx.MockRouter, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "books.csv"
        file.write_bytes(content)
        assert run(file).exit_code == 0
        assert json.loads(api.calls.last.request.content)["books"] == [
            {"title": "Émile", "author": "R, J", "publication_date": "1762-01-01"}
        ]

    def test_and_calibre_is_read_too(self, api: respx.MockRouter, tmp_path: Path) -> None:
        file = tmp_path / "books.csv"
        file.write_text(
            'author_sort,authors,comments,pubdate,title\n"Le Guin, U.","Ursula K. Le Guin","Three lines\nof, praise,\n'
            'and ""more"".","2004-05-01T00:00:00+00:00","The Dispossessed"\n'
            '"Poe, E.","Edgar Allan Poe","","0101-01-01T00:00:00+00:00","Eureka"\n'
        )
        result = run(file, "--author", "authors", "--date", "pubdate")
        assert json.loads(api.calls.last.request.content)["books"] == [
            {"title": "The Dispossessed", "author": "Ursula K. Le Guin", "publication_date": "2004-05-01"}
        ]
        assert "line 5: no date, which is what '0101-01-01T00:00:00+00:00' means in Calibre\n" in result.stdout


class TestWhatPasses:
    def test_a_token_that_expired_is_renewed_once(self, api: respx.MockRouter, file: Path) -> None:
        renewed = httpx.Response(200, json={"access_token": "token-2"})
        api.post(LOGIN).mock(side_effect=answers(TOKEN, renewed))
        api.post(BATCH).mock(side_effect=answers(CREATED, a_problem(401), CREATED))
        result = run(file, "--batch-size", "3")
        assert result.exit_code == 0
        assert sent(api) == [["Book 1", "Book 2", "Book 3"], ["Book 4", "Book 5"], ["Book 4", "Book 5"]]
        assert api.calls.last.request.headers["Authorization"] == "Bearer token-2"

    @pytest.mark.parametrize("status", [503, 429])
    def test_a_busy_service_is_asked_again_when_it_said(
        self, api: respx.MockRouter, file: Path, waited: list[float], status: int
    ) -> None:
        api.post(BATCH).mock(side_effect=answers(a_problem(status, headers={"Retry-After": "3"}), CREATED))
        assert run(file).exit_code == 0
        assert waited == [3.0]
        assert len(sent(api)) == 2

    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(httpx.ReadError(""), id="connection-lost"),
            pytest.param(httpx.ReadTimeout("timed out"), id="no-answer"),
            pytest.param(a_problem(500), id="failure"),
            pytest.param(a_problem(503), id="outcome-unknown"),
        ],
    )
    def test_a_batch_of_unknown_outcome_is_sent_again_with_its_key(
        self, api: respx.MockRouter, file: Path, waited: list[float], failure: httpx.Response | Exception
    ) -> None:
        api.post(BATCH).mock(side_effect=answers(failure, failure, REPLAYED))
        assert run(file).exit_code == 0
        assert len(waited) == 2
        assert [len(titles) for titles in sent(api)] == [5, 5, 5]
        assert len(set(keys(api))) == 1

    def test_a_service_that_is_not_there_for_a_moment_is_waited_for(
        self, api: respx.MockRouter, file: Path, waited: list[float]
    ) -> None:
        api.post(BATCH).mock(side_effect=answers(httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), CREATED))
        assert run(file).exit_code == 0
        assert len(waited) == 2


class TestKeys:
    def test_each_batch_has_one_that_every_run_gives_it(self, api: respx.MockRouter, file: Path) -> None:
        for _ in range(2):
            assert run(file, "--batch-size", "2").exit_code == 0
        first, again = keys(api)[:3], keys(api)[3:]
        assert first == again
        assert len(set(first)) == 3
        for key in first:
            assert re.fullmatch(r'"colophon-import-[0-9a-f]{64}"', key)

    def test_going_on_from_a_line_gives_the_same_ones(self, api: respx.MockRouter, file: Path) -> None:
        run(file, "--batch-size", "2")
        run(file, "--batch-size", "2", "--from-line", "4")
        assert keys(api)[3:] == keys(api)[1:3]

    def test_equal_books_on_other_lines_have_another_one(self, api: respx.MockRouter, tmp_path: Path) -> None:
        run(a_file(tmp_path, ["A,B,1800", "A,B,1800"]), "--batch-size", "1")
        assert len(set(keys(api))) == 2

    def test_another_copy_and_other_books_have_others(self, api: respx.MockRouter, file: Path) -> None:
        run(file)
        run(file, "--copy", "2")
        file.write_text(file.read_text().replace("Book 3", "Book three"))
        run(file)
        assert len(set(keys(api))) == 3

    def test_what_was_left_of_a_batch_has_one_of_its_own(self, api: respx.MockRouter, file: Path) -> None:
        errors = [{"pointer": "/books/1/title", "detail": "is a rude word"}]
        api.post(BATCH).mock(side_effect=answers(a_problem(422, errors=errors), CREATED))
        run(file)
        assert len(set(keys(api))) == 2

    def test_what_was_loaded_before_is_counted_but_not_hidden(self, api: respx.MockRouter, file: Path) -> None:
        api.post(BATCH).mock(side_effect=answers(REPLAYED, CREATED))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 0
        assert "5 loaded" in result.stdout
        assert "2 of them by an earlier attempt, and not again" in result.stdout
        assert "earlier attempt" not in run(file, "--dry-run").stdout


class TestBreakingOff:
    """Each time: exit code 1, what is loaded for certain, and how to go on."""

    def broken_off(self, api: respx.MockRouter, file: Path, *then: httpx.Response | Exception) -> str:
        """What is said when the second batch of two books, lines 4 and 5, is answered so."""
        api.post(BATCH).mock(side_effect=answers(CREATED, *then))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 1
        assert "2 loaded" in result.stdout
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return " ".join(result.stderr.split())

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param(httpx.ReadError(""), id="read"),
            pytest.param(httpx.WriteError("broken pipe"), id="write"),
            pytest.param(httpx.ReadTimeout("timed out"), id="no-answer"),
            pytest.param(httpx.RemoteProtocolError("Server disconnected"), id="closed"),
        ],
    )
    def test_a_connection_lost_after_sending_again_and_again_ends_it(
        self, api: respx.MockRouter, file: Path, waited: list[float], error: Exception
    ) -> None:
        said = self.broken_off(api, file, error)
        assert "The connection broke" in said
        assert "Everything up to line 3 is loaded. Whether lines 4 to 5 are loaded is not known." in said
        assert "Run the very same command again: within 24 hours it loads nothing twice." in said
        assert len(waited) == 5
        assert len(set(keys(api))) == 2

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_service_that_fails_again_and_again_ends_it(
        self, api: respx.MockRouter, file: Path, waited: list[float], status: int
    ) -> None:
        assert "Whether lines 4 to 5 are loaded is not known." in self.broken_off(api, file, a_problem(status))
        assert len(waited) == 5

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            pytest.param(a_problem(403, "Not yours."), "403 Not yours.", id="forbidden"),
            pytest.param(a_problem(413, "Too long."), "A smaller --batch-size will do.", id="too-large"),
            pytest.param(httpx.Response(404, text="<html>"), "did not take the batch: 404", id="another-service"),
            pytest.param(httpx.Response(200, json=[1]), "did not take the batch: 200", id="no-confirmation"),
            pytest.param(
                httpx.Response(301, headers={"Location": "https://x.example/"}), "https://x.example/", id="redirect"
            ),
        ],
    )
    def test_a_refusal_says_why_and_leaves_the_batch_to_be_sent_again(
        self, api: respx.MockRouter, file: Path, answer: httpx.Response, reason: str
    ) -> None:
        said = self.broken_off(api, file, answer)
        assert reason in said
        assert "Everything up to line 3 is loaded; go on with --from-line 4." in said

    def test_a_second_401_in_a_row_ends_it(self, api: respx.MockRouter, file: Path) -> None:
        assert "go on with --from-line 4." in self.broken_off(api, file, a_problem(401, "No token."))
        assert len(sent(api)) == 3

    def test_a_login_that_is_refused_half_way_ends_it(self, api: respx.MockRouter, file: Path) -> None:
        api.post(LOGIN).mock(side_effect=answers(TOKEN, a_problem(400, "Wrong password.")))
        assert "login was refused: 400 Wrong password. Everything up to line 3" in self.broken_off(
            api, file, a_problem(401)
        )

    def test_a_service_that_stays_away_ends_it(self, api: respx.MockRouter, file: Path, waited: list[float]) -> None:
        said = self.broken_off(api, file, httpx.ConnectError("refused"))
        assert "Nothing answers at http://127.0.0.1:8000 any more" in said
        assert "Run the very same command again" in said
        assert len(waited) == 5

    def test_a_service_that_stays_busy_ends_it(self, api: respx.MockRouter, file: Path, waited: list[float]) -> None:
        said = self.broken_off(api, file, a_problem(503, "Later.", headers={"Retry-After": "9999"}))
        assert "refused for now: 503 Later. Everything up to line 3 is loaded" in said
        assert waited == [60.0] * 5

    def test_a_file_that_cannot_be_read_on_ends_it(self, api: respx.MockRouter, file: Path) -> None:
        file.write_bytes(gzip.compress(file.read_bytes())[:-8])
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 1
        assert "The compressed file breaks off after line 6." in result.stderr
        assert "Everything up to line 5 is loaded; go on with --from-line 6." in result.stderr

    def test_an_encoding_in_doubt_ends_it_with_advice_that_works(
        self, api: respx.MockRouter, file: Path, tmp_path: Path
    ) -> None:
        file.write_bytes(file.read_bytes() + "Émile,Rousseau,1762\nEmma,Austen,1815\n".encode("cp1252"))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 1
        assert "Line 7 is not UTF-8 (byte 0xC9); name the file's encoding with --encoding, cp1252" in result.stderr
        assert "Everything up to line 5 is loaded; go on with --from-line 6." in result.stderr
        assert run(file, "--batch-size", "2", "--encoding", "cp1252", "--from-line", "6").exit_code == 0
        assert sent(api) == [["Book 1", "Book 2"], ["Book 3", "Book 4"], ["Book 5", "Émile"], ["Emma"]]
        # Nor does it load anything twice for who leaves the line out.
        assert run(file, "--batch-size", "2", "--encoding", "cp1252").exit_code == 0
        assert keys(api)[4:] == keys(api)[:4]

    def test_before_the_first_batch_it_begins_again(self, api: respx.MockRouter, file: Path) -> None:
        api.post(BATCH).mock(return_value=a_problem(403))
        assert "Nothing was loaded; begin again without --from-line." in run(file).stderr
        assert "Nothing was loaded this time; go on with --from-line 4." in run(file, "--from-line", "4").stderr


class TestCtrlC:
    @staticmethod
    def pressing(times: int) -> Callable[[httpx.Request], httpx.Response]:
        def answer(_: httpx.Request) -> httpx.Response:
            for _time in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            return CREATED

        return answer

    def test_the_batch_under_way_is_finished_first(self, api: respx.MockRouter, file: Path) -> None:
        api.post(BATCH).mock(side_effect=answers(CREATED, self.pressing(1)))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 130
        assert "4 loaded" in result.stdout
        assert "Finishing the batch under way" in result.stderr
        assert "Stopped. Everything up to line 5 is loaded; go on with --from-line 6." in result.stderr

    def test_twice_breaks_the_batch_off(self, api: respx.MockRouter, file: Path) -> None:
        api.post(BATCH).mock(side_effect=answers(CREATED, self.pressing(2)))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 130
        assert "Whether lines 4 to 5 are loaded is not known." in result.stderr

    def test_waiting_for_a_busy_service_ends_at_once(
        self, api: respx.MockRouter, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
        api.post(BATCH).mock(side_effect=answers(CREATED, a_problem(503, headers={"Retry-After": "9"})))
        result = run(file, "--batch-size", "2")
        assert result.exit_code == 130
        assert "go on with --from-line 4." in result.stderr

    def test_the_handler_from_before_is_back_afterwards(self, api: respx.MockRouter, file: Path) -> None:
        before = signal.getsignal(signal.SIGINT)
        run(file)
        assert signal.getsignal(signal.SIGINT) is before


class TestTheLogin:
    def test_a_wrong_password_is_said_and_nothing_is_read(self, api: respx.MockRouter, file: Path) -> None:
        api.post(LOGIN).mock(return_value=a_problem(400, "The e-mail address or the password is wrong."))
        result = run(file)
        assert result.exit_code == 1
        assert (
            "Nothing was loaded: the login was refused: 400 The e-mail address or the password is wrong."
            in result.stderr
        )
        assert sent(api) == []

    def test_a_service_that_is_not_there_is_said_at_once(self, api: respx.MockRouter, file: Path) -> None:
        api.post(LOGIN).mock(side_effect=httpx.ConnectError("refused"))
        result = run(file)
        assert result.exit_code == 1
        assert "nothing answers at http://127.0.0.1:8000: is the service running?" in result.stderr

    @pytest.mark.parametrize(
        "answer", [httpx.Response(200, text="hello"), httpx.Response(200, json={}), a_problem(500)]
    )
    def test_something_else_at_the_address_is_said(
        self, api: respx.MockRouter, file: Path, answer: httpx.Response
    ) -> None:
        api.post(LOGIN).mock(return_value=answer)
        result = run(file)
        assert result.exit_code == 1
        assert "does not answer a login as Colophon does" in result.stderr

    def test_without_a_terminal_the_missing_variable_is_named(self, file: Path) -> None:
        result = CliRunner(env={"COLOPHON_EMAIL": "ann@example.org"}).invoke(app, [str(file)])
        assert result.exit_code == 2
        assert "COLOPHON_PASSWORD" in result.stderr


class TestDryRun:
    def test_it_reads_everything_and_calls_nobody(self, tmp_path: Path) -> None:
        with respx.mock:
            result = run(a_file(tmp_path, ["A,,1800-02-03", "C,D,"]), "--dry-run", "--default-author", "Unknown")
        assert result.exit_code == 1
        assert "1 could be loaded, nothing was (--dry-run)" in result.stdout
        assert "1 of them without an author, loaded as 'Unknown'" in result.stdout
        assert "line 3: no date" in result.stdout

    def test_a_broken_file_ends_it(self, tmp_path: Path) -> None:
        file = tmp_path / "books.csv.gz"
        file.write_bytes(gzip.compress(b"title,author,publication_date\n" + os.urandom(9999).hex().encode())[:-99])
        result = run(file, "--dry-run")
        assert result.exit_code == 1
        assert "breaks off" in result.stderr


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            pytest.param(["--title", "name"], "there is no column 'name'", id="no-such-column"),
            pytest.param(["--delimiter", "::"], "--delimiter '::' is not one character", id="long-delimiter"),
            pytest.param(["--delimiter", '"'], "is not one character", id="quote-as-delimiter"),
            pytest.param(["--encoding", "klingon"], "--encoding 'klingon' is not known", id="unknown-encoding"),
            pytest.param(["--encoding", "hex"], "not one of text", id="no-text-encoding"),
            pytest.param(["--encoding", "undefined"], "not one of text", id="an-encoding-that-refuses-everything"),
            pytest.param(["--encoding", ""], "--encoding '' is not known", id="empty-encoding"),
            pytest.param(["--batch-size", "1001"], "--batch-size", id="batch-too-large"),
            pytest.param(["--batch-size", "0"], "--batch-size", id="batch-too-small"),
            pytest.param(["--from-line", "0"], "--from-line", id="no-line-zero"),
            pytest.param(["--default-author", " "], "--default-author must not be blank", id="blank-author"),
            pytest.param(["--url", "localhost:8000"], "is no address like http://", id="url-without-scheme"),
        ],
    )
    def test_it_is_said_with_exit_code_2(self, file: Path, options: list[str], said: str) -> None:
        result = run(file, *options)
        assert result.exit_code == 2
        assert said in without_a_box(result)

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        assert "does not exist" in without_a_box(run(tmp_path / "none"))
        assert "is a directory" in without_a_box(run(tmp_path))

    def test_the_report_may_not_be_the_file_itself(self, file: Path) -> None:
        before = file.read_bytes()
        assert run(file, "--dry-run", "--report", str(file)).exit_code == 2
        assert file.read_bytes() == before

    def test_a_report_that_cannot_be_written_is_said(self, file: Path, tmp_path: Path) -> None:
        result = run(file, "--dry-run", "--report", str(tmp_path / "none" / "refused.csv"))
        assert result.exit_code == 1
        assert "refused.csv: No such file or directory" in result.stderr
