"""How the relay runs as a process."""

from book_contracts.events import EXCHANGE
from book_db.events.outbox import Outbox
from book_db.postgres import fitness
from book_db.postgres.database import Database, outage_of
from book_runtime.broker.amqp import AmqpPublisher
from book_runtime.process import run_until, stopping

from rest_api.relay.relay import Relay
from rest_api.relay.settings import RelaySettings


async def relay(settings: RelaySettings) -> None:
    """Runs the relay until SIGTERM or SIGINT. What is under way then is sent again by the next one.

    Raises UnfitDatabase.
    """
    async with (
        stopping() as stop_requested,
        fitness.checked(settings.database_url, services=["relay"]),
        AmqpPublisher(settings.amqp_url, EXCHANGE) as publisher,
    ):
        url = settings.database_url
        database = Database.open(url, pool_size=2, name="outbox-relay", outage=outage_of(url))
        try:
            await run_until(stop_requested, Relay(Outbox(database), publisher).run())
        finally:
            await database.close()
