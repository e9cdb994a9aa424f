"""The broker that is RabbitMQ, 3.10 or newer, through aio-pika."""

from book_runtime.broker.amqp.consumer import AmqpConsumer
from book_runtime.broker.amqp.dead_letters import DeadLetter, DeadLetters, Rejected
from book_runtime.broker.amqp.publisher import AmqpPublisher
from book_runtime.broker.amqp.topology import Topology

__all__ = ["AmqpConsumer", "AmqpPublisher", "DeadLetter", "DeadLetters", "Rejected", "Topology"]
