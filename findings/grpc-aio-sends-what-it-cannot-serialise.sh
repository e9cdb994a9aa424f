#!/usr/bin/env bash
# grpcio 1.85.1, its asyncio client: when the serializer of a request raises, the call does not fail. An empty message
# is sent in place of the request, the server answers it, and the caller gets that answer.
# One would expect the exception of the serializer, or an error of the call, and nothing on the wire. With protobuf an
# empty message is a valid request, with the defaults in all fields.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.1

cat >"$folder/expected" <<'OUTPUT'
'Emma': you sent Emma
'Ren\xe9': you sent nothing
the server was sent [b'Emma', b'']
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
import asyncio

import grpc


async def main():
    arrived = []

    async def echo(request, context):
        arrived.append(request)
        return b"you sent " + (request or b"nothing")

    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Service", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/Service/Echo", request_serializer=lambda text: text.encode("ascii"))
        for title in ("Emma", "Ren\u00e9"):
            try:
                print(f"{title!a}: {(await call(title)).decode()}")
            except Exception as error:
                print(f"{title!a}: {type(error).__name__}")
    await server.stop(None)
    print("the server was sent", arrived)


asyncio.run(main())
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
