"""Why a watch does not begin, or ends. The docstring of an error is its message."""

from book_runtime.errors import DocumentedError


class PositionNotReached(DocumentedError):
    """No change has the position {position} yet: it is not one that this catalogue gave."""

    def __init__(self, position: int) -> None:
        self.position = position


class TooManyWatchers(DocumentedError):
    """This service has {most} watchers{whose}, and takes no more."""

    def __init__(self, most: int, *, own: bool) -> None:
        self.most = most
        self.whose = " of yours" if own else ""


class WatcherTooSlow(DocumentedError):
    """Changes come faster than they are read here. Go on after the last one that was read."""

    def __init__(self, position: int) -> None:
        """`position` is that of the last response that was handed to the network; not all that was may arrive."""
        self.position = position
