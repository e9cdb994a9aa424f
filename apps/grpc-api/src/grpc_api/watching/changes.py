"""What watchers are sent: each change is made into bytes once, however many watch."""

from dataclasses import dataclass
from functools import cached_property

from book_contracts.codec import write_event
from book_db.accounts.authentication import Caller
from book_db.events.model import BookEvent
from book_db.roles import Role
from books.v1.book_service_pb2 import WatchBooksResponse


@dataclass(frozen=True)
class WatchMessage:
    """A change, and the responses that tell of it."""

    position: int
    event: BookEvent

    @cached_property
    def response(self) -> bytes:
        """For those who may know who made it."""
        return _response(self.position, self.event)

    def response_for(self, caller: Caller | None) -> bytes:
        """What this caller may see, None being anybody: only editors, admins and the actor see who made the change."""
        if caller is not None and (caller.role is not Role.READER or str(caller.user_id) == self.event.actor):
            return self.response
        return self._response_without_the_actor

    @cached_property
    def _response_without_the_actor(self) -> bytes:
        return _response(self.position, self.event._replace(actor=""))


def _response(position: int, event: BookEvent) -> bytes:
    response = WatchBooksResponse(position=position)
    write_event(event, response.event)
    return response.SerializeToString()


def reached(position: int) -> bytes:
    """The response that tells only how far the stream has come."""
    return WatchBooksResponse(position=position).SerializeToString()
