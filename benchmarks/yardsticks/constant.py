"""The least that FastAPI and uvicorn do: an endpoint that answers every request with the same bytes."""

import asyncio
import sys
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI, Response

app = FastAPI()
_BYTES = Path(sys.argv[2]).read_bytes()
"""What Colophon answers to the same question."""


@app.get("/")
async def constant() -> Response:
    return Response(_BYTES, media_type="application/json")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        config = uvicorn.Config(app, port=int(sys.argv[1]), http="httptools", log_level="warning", access_log=False)
        runner.run(uvicorn.Server(config).serve())
