#!/usr/bin/env bash
# pydantic 2.14.3: an `int` that comes as text, as the parameter of a path or a query does, may be spelt with
# underscores, a sign, zeros or blanks around it, and as a decimal fraction of zeros. That is not what int() takes
# either, which refuses "10.0" and reads the digits of other scripts.
# One would expect one spelling for one number, or those of int(). An id in a path has many addresses this way.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3

cat >"$folder/expected" <<'OUTPUT'
'10': 10, int(): 10
'1_0': 10, int(): 10
'10.0': 10, int(): refused
'+10': 10, int(): 10
'010': 10, int(): 10
' 10 ': 10, int(): 10
'1e1': refused, int(): refused
'\u0661\u0660': refused, int(): 10
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
from pydantic import TypeAdapter


def tried(read, text):
    try:
        return read(text)
    except ValueError:
        return "refused"


for text in ("10", "1_0", "10.0", "+10", "010", " 10 ", "1e1", "\u0661\u0660"):
    print(f"{text!a}: {tried(TypeAdapter(int).validate_python, text)}, int(): {tried(int, text)}")
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
