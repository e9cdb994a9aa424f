"""So many of something at a time, and of those no more than half for one user."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from book_runtime.errors import DocumentedError


class NoPlaceLeft(DocumentedError):
    """All {most} places are taken."""

    def __init__(self, most: int, *, own: bool) -> None:
        """``own``: the user has all the places that one may have. Others may still be free."""
        self.most = most
        self.own = own


class Places:
    """Counts who has taken a place. Nobody alone can keep all others out, unless there is one place only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = (most + 1) // 2
        self._taken: Counter[Hashable] = Counter()
        self._count = 0

    @contextmanager
    def taken_by(self, user: Hashable | None) -> Iterator[None]:
        """A place for the length of the block. None stands for everybody, where nobody is told apart.

        Raises NoPlaceLeft.
        """
        if self._count >= self._most:
            raise NoPlaceLeft(self._most, own=False)
        if user is not None and self._taken[user] >= self._share:
            raise NoPlaceLeft(self._share, own=True)
        self._count += 1
        self._taken[user] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
