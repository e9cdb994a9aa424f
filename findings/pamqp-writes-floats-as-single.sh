#!/usr/bin/env bash
# pamqp 4.0.1, which aio-pika stands on: a Python float in a table of headers is written with 32 bits (type `f`),
# although AMQP 0-9-1 has a type of 64 bits (`d`), which pamqp reads. 0.1 arrives as 0.10000000149011612, and 1e300,
# which came in as a double, cannot be sent on.
# One would expect what was read from one message to be written to the next as it was.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pamqp==4.0.1

cat >"$folder/expected" <<'OUTPUT'
{'k': 0.1}: type f, read again as {'k': 0.10000000149011612}
{'k': 1e+300}: cannot be written: OverflowError
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
from pamqp import decode, encode

A_DOUBLE = b"\x00\x00\x00\x0b\x01kd" + bytes.fromhex("7e37e43c8800759c")

for table in ({"k": 0.1}, decode.field_table(A_DOUBLE)[1]):
    try:
        written = encode.field_table(table)
        print(f"{table}: type {chr(written[6])}, read again as {decode.field_table(written)[1]}")
    except Exception as error:
        print(f"{table}: cannot be written: {type(error).__name__}")
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
