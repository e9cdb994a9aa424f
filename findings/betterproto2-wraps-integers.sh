#!/usr/bin/env bash
# betterproto2 0.10.0: an integer that does not fit into its field is written without a word, modulo 2**64 or 2**32.
# One would expect an error, as from the classes that protoc generates ("Value out of range"). What arrives is another
# valid number: id 1 for 2**64 + 1.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check betterproto2==0.10.0

cat >"$folder/expected" <<'OUTPUT'
Request(id=1, page_size=2)
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
from dataclasses import dataclass

import betterproto2


@dataclass(eq=False, repr=False)
class Request(betterproto2.Message):
    id: int = betterproto2.field(1, betterproto2.TYPE_INT64)
    page_size: int = betterproto2.field(2, betterproto2.TYPE_INT32)


print(Request.parse(bytes(Request(id=2**64 + 1, page_size=2**32 + 2))))
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
