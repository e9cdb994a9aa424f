"""What tests/http/test_clients.py has every client do, with curl, which is given the arguments from the fifth on."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

JSON = ("--header", "Content-Type: application/json")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Curl:
    def __init__(self, base: str, folder: Path, *options: str) -> None:
        self._base = base
        self._head, self._body = folder / "head", folder / "body"
        self._options = options
        self.streams = "--http1.0" not in options
        self.token = ""

    def __call__(self, path: str, *options: str, stdin: bytes = b"") -> Answer:
        """The options come before those of every call, whose last header counts."""
        self._body.write_bytes(b"")
        written = ("--dump-header", str(self._head), "--output", str(self._body))
        header = ("--header", f"Authorization: {self.token}")
        command = ["curl", "--silent", "--show-error", *self._options, *options, *header, *written, self._base + path]
        subprocess.run(command, input=stdin, check=True)
        # The last one: interim answers have heads too.
        status_line, *lines = self._head.read_bytes().decode().strip().split("\r\n\r\n")[-1].split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status_line.split()[1]), headers, self._body.read_bytes())


def tell(step: str, answer: Answer, told: object = None) -> None:
    print(json.dumps([step, answer.status, told]))


def main(base: str, email: str, password: str, author: str, *options: str) -> None:
    with TemporaryDirectory() as folder:
        go(Curl(base, Path(folder), *options), email, password, author)


def go(curl: Curl, email: str, password: str, author: str) -> None:
    def a_book(title: str) -> str:
        book = {"title": title, "author": author, "publication_date": "1871-12-01"}
        return json.dumps(book, ensure_ascii=False)

    account = json.dumps({"email": email, "password": password})
    tell("register", curl("/api/v1/auth/register", *JSON, "--data", account))

    # As the README has it: what is typed is sent as it is.
    answer = curl("/api/v1/auth/login", "--data", f"username={email}", "--data", f"password={password}")
    curl.token = f"Bearer {json.loads(answer.body)['access_token']}"
    tell("sign in", answer)

    answer = curl("/api/v1/books", *JSON, "--data", a_book("Käsebrötchen"))
    book, etag = answer.headers["location"], answer.headers["etag"]
    tell("create", answer, etag)

    answer = curl(book)
    length = len(answer.body)
    tell("read", answer)

    answer = curl("/api/v1/books", "--get", "--data-urlencode", f"author={author}")
    tell("list", answer, [each["title"] for each in json.loads(answer.body)["books"]])

    answer = curl(book, "--header", f"If-None-Match: {etag}")
    tell("read again", answer, len(answer.body))

    answer = curl(book, "--head")
    tell("head", answer, [0, length - int(answer.headers["content-length"])])

    if_match = ("--header", f"If-Match: {etag}")
    answer = curl(book, "--request", "PUT", *JSON, *if_match, "--data", a_book("Butterbrot"))
    newer = answer.headers["etag"]
    tell("replace", answer, newer)

    answer = curl(book, "--request", "PUT", *JSON, *if_match, "--data", a_book("Lost"))
    tell("replace what has changed", answer, json.loads(answer.body)["type"])

    lines = "".join(f"{a_book(f'Käsebrötchen {number}')}\n" for number in (1, 2, 3)).encode()
    upload = ("--upload-file", "-", "--request", "POST") if curl.streams else ("--data-binary", "@-")
    ndjson = ("--header", "Content-Type: application/x-ndjson")
    answer = curl("/api/v1/books/import", *upload, *ndjson, stdin=lines)
    tell("import", answer, json.loads(answer.body.splitlines()[-1])["created"])

    answer = curl("/api/v1/books/export", "--get", "--data-urlencode", f"author={author}")
    tell("export", answer, [json.loads(line)["title"] for line in answer.body.splitlines()])

    answer = curl(book, "--request", "DELETE", "--header", f"If-Match: {newer}")
    tell("delete", answer, len(answer.body))

    answer = curl(book)
    tell("read what is gone", answer, json.loads(answer.body)["type"])


main(*sys.argv[1:])
