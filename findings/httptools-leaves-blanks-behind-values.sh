#!/usr/bin/env bash
# httptools 0.9.0: blanks behind the value of a header field stay in it. `If-None-Match: "1" ` is another text than
# the entity tag "1", and a comparison fails that h11 0.16.0 lets pass.
# One would expect the value without them: RFC 9112, 5.1 has them excluded by a parser.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httptools==0.9.0 h11==0.16.0

cat >"$folder/expected" <<'OUTPUT'
httptools: b'"1" \t'
h11: b'"1"'
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
import h11
import httptools

REQUEST = b'GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: "1" \t\r\n\r\n'


class Headers(list):
    def on_header(self, name, value):
        self.append((name.lower(), value))


headers = Headers()
httptools.HttpRequestParser(headers).feed_data(REQUEST)
print("httptools:", dict(headers)[b"if-none-match"])

connection = h11.Connection(h11.SERVER)
connection.receive_data(REQUEST)
print("h11:", dict(connection.next_event().headers)[b"if-none-match"])
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
