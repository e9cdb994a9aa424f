"""All kinds of comparisons, by the names that `--only` has for them, in the order in which they are made."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from benchmarks.bench import Bench
from benchmarks.comparisons.calling import calls
from benchmarks.comparisons.following import following
from benchmarks.comparisons.importing import imports
from benchmarks.comparisons.reading import gets, lists
from benchmarks.comparisons.relaying import relay
from benchmarks.comparisons.sizes import sizes
from benchmarks.comparisons.starting import starts
from benchmarks.comparisons.usual import usual
from benchmarks.comparisons.workers import workers
from benchmarks.comparisons.writing import posts
from benchmarks.measuring import Measurement

# Those that write come after those that read: the catalogue that they share grows by it.
KINDS: Final[dict[str, Callable[[Bench], Iterator[Measurement]]]] = {
    "get": gets,
    "list": lists,
    "grpc": calls,
    "workers": workers,
    "start": starts,
    "usual": usual,
    "following": following,
    "import": imports,
    "post": posts,
    "relay": relay,
    "size": sizes,
}

GROUPS: Final[dict[str, Sequence[str]]] = {"reading": ("get", "list", "grpc")}
"""Several kinds under one name."""
