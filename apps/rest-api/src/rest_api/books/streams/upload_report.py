"""What became of each line of an upload: kept until the upload has ended, since hardly a client reads before."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

import anyio
import msgspec

from rest_api.books.streams.reading import UploadedBook

_MEMORY_MAX_BYTES: Final = 2**20
_BLOCK_BYTES: Final = 2**16


class UploadReport:
    """A line for each book and for each refusal, in the order of the upload, then one that counts them.

    Up to a megabyte of it is in memory, the rest in a file without a name.
    """

    def __init__(self, file: anyio.SpooledTemporaryFile[bytes]) -> None:
        self._file = file
        self.created = 0
        self.refused = 0
        self.replayed = 0

    @classmethod
    async def open(cls) -> AsyncIterator[Self]:
        """As a dependency: the report is there until the answer has gone out."""
        async with anyio.SpooledTemporaryFile[bytes](max_size=_MEMORY_MAX_BYTES) as file:
            yield cls(file)

    async def add(self, candidates: Sequence[UploadedBook], ids: Sequence[int], *, replayed: bool) -> None:
        """Takes down what became of these; ``ids`` are of those among them that have a draft."""
        self.created += len(ids)
        self.refused += len(candidates) - len(ids)
        self.replayed += len(ids) if replayed else 0
        numbers = iter(ids)
        await self._file.write(
            b"".join(
                _encoder.encode(
                    _lines_of(each) | ({"errors": each.errors} if each.draft is None else {"id": next(numbers)})
                )
                + b"\n"
                for each in candidates
            )
        )

    async def close(self, *, has_key: bool, stopped_at: int | None) -> None:
        """Writes the last line."""
        summary = {"created": self.created, "refused": self.refused}
        if has_key:
            summary["replayed"] = self.replayed
        if stopped_at is not None:
            summary["stopped_at"] = stopped_at
        await self._file.write(_encoder.encode(summary) + b"\n")

    async def blocks(self) -> AsyncIterator[bytes]:
        """The whole of it, from the beginning."""
        await self._file.seek(0)
        while block := await self._file.read(_BLOCK_BYTES):
            yield block


def _lines_of(candidate: UploadedBook) -> dict[str, Any]:
    if candidate.line == candidate.last_line:
        return {"line": candidate.line}
    return {"line": candidate.line, "last_line": candidate.last_line}


_encoder = msgspec.json.Encoder()
