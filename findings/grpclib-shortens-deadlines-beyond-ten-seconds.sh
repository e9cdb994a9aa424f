#!/usr/bin/env bash
# grpclib 0.4.9 sends a deadline in milliseconds up to ten seconds, and beyond in whole seconds, rounded down: a call
# with timeout=11.9 is given up by the server after 11 seconds, and then ends with DEADLINE_EXCEEDED from there
# instead of the TimeoutError of the client.
# One would expect the 11900 milliseconds, for which gRPC's header has room (eight digits).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grpclib==0.4.9

cat >"$folder/expected" <<'OUTPUT'
timeout=9.9: grpc-timeout: 9900m
timeout=10.5: grpc-timeout: 10S
timeout=11.9: grpc-timeout: 11S
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
from grpclib.metadata import encode_timeout

for seconds in (9.9, 10.5, 11.9):
    print(f"timeout={seconds}: grpc-timeout: {encode_timeout(seconds)}")
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
