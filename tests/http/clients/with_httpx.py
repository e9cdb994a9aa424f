"""What tests/http/test_clients.py has every client do, with httpx."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx


def tell(step: str, answer: httpx.Response, told: object = None) -> None:
    print(json.dumps([step, answer.status_code, told]))


def main(base: str, email: str, password: str, author: str) -> None:
    def a_book(title: str) -> dict[str, Any]:
        return {"title": title, "author": author, "publication_date": "1871-12-01"}

    def lines() -> Iterator[bytes]:
        for number in (1, 2, 3):
            yield json.dumps(a_book(f"Käsebrötchen {number}")).encode() + b"\n"

    with httpx.Client(base_url=base, timeout=60) as client:
        tell("register", client.post("/api/v1/auth/register", json={"email": email, "password": password}))

        answer = client.post("/api/v1/auth/login", data={"username": email, "password": password})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        tell("sign in", answer)

        answer = client.post("/api/v1/books", json=a_book("Käsebrötchen"))
        book, etag = answer.headers["Location"], answer.headers["ETag"]
        tell("create", answer, etag)

        answer = client.get(book)
        length = len(answer.content)
        tell("read", answer)

        answer = client.get("/api/v1/books", params={"author": author})
        tell("list", answer, [each["title"] for each in answer.json()["books"]])

        answer = client.get(book, headers={"If-None-Match": etag})
        tell("read again", answer, len(answer.content))

        answer = client.head(book)
        tell("head", answer, [len(answer.content), length - int(answer.headers["Content-Length"])])

        answer = client.put(book, json=a_book("Butterbrot"), headers={"If-Match": etag})
        newer = answer.headers["ETag"]
        tell("replace", answer, newer)

        answer = client.put(book, json=a_book("Lost"), headers={"If-Match": etag})
        tell("replace what has changed", answer, answer.json()["type"])

        answer = client.post("/api/v1/books/import", content=lines(), headers={"Content-Type": "application/x-ndjson"})
        tell("import", answer, json.loads(answer.text.splitlines()[-1])["created"])

        answer = client.get("/api/v1/books/export", params={"author": author})
        tell("export", answer, [json.loads(line)["title"] for line in answer.text.splitlines()])

        answer = client.delete(book, headers={"If-Match": newer})
        tell("delete", answer, len(answer.content))

        answer = client.get(book)
        tell("read what is gone", answer, answer.json()["type"])


main(*sys.argv[1:])
