"""What tests/http/test_clients.py has every client do, with aiohttp."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp


def tell(step: str, answer: aiohttp.ClientResponse, told: object = None) -> None:
    print(json.dumps([step, answer.status, told]))


async def main(base: str, email: str, password: str, author: str) -> None:
    def a_book(title: str) -> dict[str, Any]:
        return {"title": title, "author": author, "publication_date": "1871-12-01"}

    async def lines() -> AsyncIterator[bytes]:
        for number in (1, 2, 3):
            yield json.dumps(a_book(f"Käsebrötchen {number}")).encode() + b"\n"

    async with aiohttp.ClientSession(base) as client:
        async with client.post("/api/v1/auth/register", json={"email": email, "password": password}) as answer:
            tell("register", answer)

        async with client.post("/api/v1/auth/login", data={"username": email, "password": password}) as answer:
            client.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
            tell("sign in", answer)

        async with client.post("/api/v1/books", json=a_book("Käsebrötchen")) as answer:
            book, etag = answer.headers["Location"], answer.headers["ETag"]
            tell("create", answer, etag)

        async with client.get(book) as answer:
            length = len(await answer.read())
            tell("read", answer)

        async with client.get("/api/v1/books", params={"author": author}) as answer:
            tell("list", answer, [each["title"] for each in (await answer.json())["books"]])

        async with client.get(book, headers={"If-None-Match": etag}) as answer:
            tell("read again", answer, len(await answer.read()))

        async with client.head(book) as answer:
            tell("head", answer, [len(await answer.read()), length - int(answer.headers["Content-Length"])])

        async with client.put(book, json=a_book("Butterbrot"), headers={"If-Match": etag}) as answer:
            newer = answer.headers["ETag"]
            tell("replace", answer, newer)

        async with client.put(book, json=a_book("Lost"), headers={"If-Match": etag}) as answer:
            tell("replace what has changed", answer, json.loads(await answer.read())["type"])

        ndjson = {"Content-Type": "application/x-ndjson"}
        async with client.post("/api/v1/books/import", data=lines(), headers=ndjson) as answer:
            tell("import", answer, json.loads((await answer.text()).splitlines()[-1])["created"])

        async with client.get("/api/v1/books/export", params={"author": author}) as answer:
            tell("export", answer, [json.loads(line)["title"] for line in (await answer.text()).splitlines()])

        async with client.delete(book, headers={"If-Match": newer}) as answer:
            tell("delete", answer, len(await answer.read()))

        async with client.get(book) as answer:
            tell("read what is gone", answer, json.loads(await answer.read())["type"])


asyncio.run(main(*sys.argv[1:]))
