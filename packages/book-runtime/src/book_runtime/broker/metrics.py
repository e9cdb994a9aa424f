"""What a broker's user counts, whichever broker it is."""

from prometheus_client import Counter, Gauge

PUBLISHED = Counter("broker_messages_published", "Messages handed to the broker.", ["exchange"])
CONFIRMED = Counter(
    "broker_messages_confirmed",
    "Messages that the broker has taken responsibility for.",
    ["exchange"],
)
HANDLED = Counter("broker_messages_handled", "Messages that the handler has finished with.", ["queue"])
REDELIVERED = Counter(
    "broker_messages_redelivered",
    "Messages that arrived not for the first time.",
    ["queue"],
)
DEAD_LETTERED = Counter(
    "broker_messages_dead_lettered",
    "Messages set aside because they cannot be handled.",
    ["queue"],
)
CONNECTED = Gauge("broker_connected", "1 while the connection to the broker is up.", ["role", "name"])
BLOCKED = Gauge("broker_blocked", "1 while the broker takes no messages from this connection.", ["role", "name"])
