#!/usr/bin/env bash
# uvicorn 0.54.0 on httptools 0.9.0 answers a client of HTTP/1.0 in chunks when the application streams. Such a client
# knows no transfer codings and takes the sizes of the chunks for content.
# One would expect the end of the connection to end the answer, as RFC 9112, 6.1 demands ("MUST NOT send a response
# containing Transfer-Encoding unless the corresponding request indicates HTTP/1.1"), and as the same server does it
# on h11 0.16.0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0

cat >"$folder/expected" <<'OUTPUT'
httptools in chunks: b'4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n'
h11 as it is: b'one two'
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


async def stream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"one ", b"two"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


for http in ("httptools", "h11"):
    address, stop = serve(stream, http)
    head, body = ask(address, b"GET / HTTP/1.0\r\n\r\n")
    print(http, "in chunks:" if "transfer-encoding: chunked" in head else "as it is:", body)
    stop()
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
