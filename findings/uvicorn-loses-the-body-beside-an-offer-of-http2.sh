#!/usr/bin/env bash
# uvicorn 0.54.0 on httptools 0.9.0: a request with a body that also offers HTTP/2 (`Connection: Upgrade`, `Upgrade:
# h2c`, as `curl --http2` and Java's HttpClient do it at addresses of http://) reaches the application without its
# body, as if it were complete. On h11 0.16.0 the body is there.
# One would expect the offer to be ignored (RFC 9110, 7.8) and the body to be read: uvicorn logs that it does not
# support the upgrade and goes on, but the parser has stopped at the end of the headers.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0

cat >"$folder/expected" <<'OUTPUT'
httptools, plain: 5 bytes
httptools, with an offer: 0 bytes
h11, plain: 5 bytes
h11, with an offer: 5 bytes
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
import asyncio
import socket
import threading
import time

import uvicorn


def serve(app, http):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=http, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop():
        server.should_exit = True
        thread.join()

    return listening.getsockname(), stop


def ask(address, request):
    """Head and body of the answer."""
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(request)
        head, _, body = b"".join(iter(lambda: client.recv(65_536), b"")).partition(b"\r\n\r\n")
        return head.decode().lower(), body


async def count(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    answer = b"%d bytes" % len(body)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


PLAIN = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
OFFER = b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"

for http in ("httptools", "h11"):
    address, stop = serve(count, http)
    for what, request in (("plain", PLAIN), ("with an offer", PLAIN.replace(b"Connection: close", OFFER))):
        print(f"{http}, {what}:", ask(address, request)[1].decode())
    stop()
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
