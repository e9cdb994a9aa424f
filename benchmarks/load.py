"""Load from programs that are known for it: wrk for HTTP, h2load for gRPC, redis-benchmark for Redis.

Each has 32 connections, and sends the next request when it has the answer to the last one. None comes near the limits
of a core: what is measured is what answers.
"""

import csv
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.figures import Speed, percentile

CONNECTIONS: Final = 32

_SCRIPT: Final = Path(__file__).with_name("request.lua")

_TOLERANCE: Final = 0.02
"""Of the answers' bytes, for those that are on their way when the time is over."""


class LoadFailed(Exception):
    """{program} met answers that are not as they should be: {what}"""

    def __init__(self, program: str, what: str) -> None:
        super().__init__((type(self).__doc__ or "").format(program=program, what=what))


@dataclass(frozen=True, slots=True)
class Http:
    """Requests of wrk: one path again and again, or a list of them in turn, whichever connection is free."""

    url: str
    folder: Path
    """For what wrk is told."""
    paths: Sequence[str] = ("/",)
    headers: Mapping[str, str] | None = None
    method: str = "GET"
    body: str = ""
    status: int = 200

    def run(self, seconds: float) -> Speed:
        """Raises LoadFailed when anything but the status that is wanted was answered."""
        paths = self.folder / "paths"
        paths.write_text("".join(f"{path}\n" for path in self.paths))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT)]
        for name, value in (self.headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        request = {"METHOD": self.method, "PATHS": str(paths), "BODY": self.body, "STATUS": str(self.status)}
        return speed_of_wrk(_output_of([*command, self.url], request))


def speed_of_wrk(output: str) -> Speed:
    """By the line of JSON that request.lua prints last. Raises LoadFailed."""
    said = json.loads(output.splitlines()[-1])
    if said["failed"] or not said["answered"]:
        raise LoadFailed("wrk", f"{said['failed']} of {said['answered']}, with status {said['example']}")
    return Speed(said["answered"] / said["seconds"], said["p99"])


@dataclass(frozen=True, slots=True)
class Grpc:
    """Calls of h2load, each connection with a question of its own.

    h2load has one question for all its connections, and 32 that ask the same at once could be given one answer: so
    there is a process for each. That costs the baseline nothing: its process has a whole core either way.
    """

    address: str
    method: str
    questions: Sequence[Path]
    """Files with a message each and its five bytes of length in front, asked by as many connections in turn."""
    answers: Sequence[int]
    """How many bytes each is answered with, those of length included. h2load itself does not see whether calls fail:
    of those that do, it takes the status of HTTP, which is 200."""
    folder: Path
    headers: Mapping[str, str]

    def run(self, seconds: float) -> Speed:
        """Raises LoadFailed."""
        questions = list(itertools.islice(itertools.cycle(zip(self.questions, self.answers, strict=True)), CONNECTIONS))
        logs = [self.folder / f"h2load-{number}.log" for number in range(CONNECTIONS)]
        running = [self._start(seconds, question, log) for (question, _), log in zip(questions, logs, strict=True)]
        said = [process.communicate()[0] for process in running]
        rate = sum(rate_of_h2load(each, size) for each, (_, size) in zip(said, questions, strict=True))
        times = sorted(itertools.chain.from_iterable(times_of_h2load(log.read_text()) for log in logs))
        return Speed(rate, percentile(times, 99))

    def _start(self, seconds: float, question: Path, log: Path) -> "subprocess.Popen[str]":
        log.unlink(missing_ok=True)  # h2load adds to what is there
        headers = {"content-type": "application/grpc", "te": "trailers", **self.headers}
        command = [
            "h2load", "-t1", "-c1", "-m1", f"-D{seconds:.0f}", "-d", str(question), f"--log-file={log}",
            *(f"-H{name}: {value}" for name, value in headers.items()),
            f"http://{self.address}{self.method}",
        ]  # fmt: skip
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rate_of_h2load(output: str, size: int) -> float:
    """Answers a second, all of which must have had about so many bytes. Raises LoadFailed."""
    succeeded = int(_found(r"(\d+) succeeded", output))
    failed = int(_found(r"(\d+) failed", output)) + int(_found(r"(\d+) errored", output))
    received = int(_found(r"space savings [^)]*\), \S+ \((\d+)\) data", output))
    if failed or not succeeded or abs(received / succeeded - size) > max(_TOLERANCE * size, size / succeeded):
        raise LoadFailed("h2load", f"{size} bytes were wanted\n{output}")
    return float(_found(r"finished in .*?, ([\d.]+) req/s", output))


def times_of_h2load(log: str) -> Iterable[float]:
    """Seconds that each answer took: the log has a line for each, with its beginning, status and microseconds."""
    return (int(line.rsplit("\t", 1)[1]) / 1_000_000 for line in log.splitlines())


@dataclass(frozen=True, slots=True)
class RedisItself:
    """GET of values as long as a cached book, by redis-benchmark: what Redis does with nobody in front of it."""

    port: int
    length: int
    requests: int

    def run(self, _seconds: float) -> Speed:
        """So many requests, however long that takes."""
        command = [
            "redis-benchmark", "-p", str(self.port), "-c", str(CONNECTIONS), "-n", str(self.requests),
            "-d", str(self.length), "-r", "1000", "--dbnum", "1", "-t", "set,get", "--csv",
        ]  # fmt: skip
        return speed_of_redis(_output_of(command))


def speed_of_redis(output: str) -> Speed:
    """By the line of GET in a table of CSV. Raises LoadFailed."""
    for line in csv.DictReader(output.splitlines()):
        if line["test"] == "GET":
            return Speed(float(line["rps"]), float(line["p99_latency_ms"]) / 1_000)
    raise LoadFailed("redis-benchmark", output)


def _output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise LoadFailed("the program", f"nothing like {pattern} in {text}")
    return match[1]
