"""What the relay is told by its environment."""

from book_db.settings import DatabaseSettings
from book_runtime.settings import AmqpUrl

from rest_api.process_settings import ProcessSettings


class RelaySettings(DatabaseSettings, ProcessSettings):
    """The relay."""

    amqp_url: AmqpUrl
    """The RabbitMQ broker that events are published to."""
