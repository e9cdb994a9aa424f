"""Where the dead letters are."""

from book_runtime.settings import AmqpUrl, Settings


class DeadLetterSettings(Settings):
    """The broker alone."""

    amqp_url: AmqpUrl
    """Without a broker, as `colophon run` can be, there is `rest-api parked` instead; with one, where it is."""
