"""The least that FastAPI and uvicorn do: an endpoint that answers every request with the same bytes."""

import sys
from pathlib import Path

from fastapi import FastAPI, Response

from benchmarks.baselines.serving import serve_http

app = FastAPI()
_BYTES = Path(sys.argv[2]).read_bytes()
"""What Colophon answers to the same question."""


@app.get("/")
async def constant() -> Response:
    return Response(_BYTES, media_type="application/json")


if __name__ == "__main__":
    serve_http(app, int(sys.argv[1]))
