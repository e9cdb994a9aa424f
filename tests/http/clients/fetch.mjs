// What tests/http/test_clients.py has every client do, with Node's fetch:
//
//     node fetch.mjs http://127.0.0.1:8000 ann@example.org 'a password' 'an author'
const [base, email, password, author] = process.argv.slice(2);
const headers = {};

function tell(step, answer, told = null) {
  console.log(JSON.stringify([step, answer.status, told]));
}

async function call(method, path, more = {}, body = undefined) {
  return fetch(base + path, { method, headers: { ...headers, ...more }, body, duplex: "half" });
}

const json = { "Content-Type": "application/json" };
const aBook = (title) => JSON.stringify({ title, author, publication_date: "1871-12-01" });

async function* lines() {
  for (const number of [1, 2, 3]) {
    yield new TextEncoder().encode(aBook(`Käsebrötchen ${number}`) + "\n");
  }
}

let answer = await call("POST", "/api/v1/auth/register", json, JSON.stringify({ email, password }));
await answer.json();
tell("register", answer);

answer = await call("POST", "/api/v1/auth/login", {}, new URLSearchParams({ username: email, password }));
headers.Authorization = `Bearer ${(await answer.json()).access_token}`;
tell("sign in", answer);

answer = await call("POST", "/api/v1/books", json, aBook("Käsebrötchen"));
const [book, etag] = [answer.headers.get("location"), answer.headers.get("etag")];
await answer.json();
tell("create", answer, etag);

answer = await call("GET", book);
const length = (await answer.arrayBuffer()).byteLength;
tell("read", answer);

answer = await call("GET", `/api/v1/books?${new URLSearchParams({ author })}`);
tell("list", answer, (await answer.json()).books.map((each) => each.title));

answer = await call("GET", book, { "If-None-Match": etag });
tell("read again", answer, (await answer.text()).length);

answer = await call("HEAD", book);
tell("head", answer, [(await answer.text()).length, length - Number(answer.headers.get("content-length"))]);

answer = await call("PUT", book, { ...json, "If-Match": etag }, aBook("Butterbrot"));
await answer.json();
const newer = answer.headers.get("etag");
tell("replace", answer, newer);

answer = await call("PUT", book, { ...json, "If-Match": etag }, aBook("Lost"));
tell("replace what has changed", answer, (await answer.json()).type);

answer = await call("POST", "/api/v1/books/import", { "Content-Type": "application/x-ndjson" }, ReadableStream.from(lines()));
tell("import", answer, JSON.parse((await answer.text()).trim().split("\n").at(-1)).created);

answer = await call("GET", `/api/v1/books/export?${new URLSearchParams({ author })}`);
tell("export", answer, (await answer.text()).trim().split("\n").map((line) => JSON.parse(line).title));

answer = await call("DELETE", book, { "If-Match": newer });
tell("delete", answer, (await answer.text()).length);

answer = await call("GET", book);
tell("read what is gone", answer, (await answer.json()).type);
