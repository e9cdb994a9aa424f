"""Why a watch does not begin, or ends. The docstring of an error is its message."""


class PositionNotReached(Exception):
    """No change has the position {position} yet: it is not one that this catalogue gave."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__((type(self).__doc__ or "").format(position=position))


class TooManyWatchers(Exception):
    """This service has {most} watchers{whose}, and takes no more."""

    def __init__(self, most: int, *, own: bool) -> None:
        whose = " of yours" if own else ""
        super().__init__((type(self).__doc__ or "").format(most=most, whose=whose))


class WatcherTooSlow(Exception):
    """Changes come faster than they are read here. Go on after the last one that was read."""

    def __init__(self, position: int) -> None:
        """`position` is that of the last response that was handed to the network; not all that was may arrive."""
        self.position = position
        super().__init__(type(self).__doc__)
