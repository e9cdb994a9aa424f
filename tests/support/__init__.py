"""Private servers for the tests: PostgreSQL, Redis and RabbitMQ on free ports of 127.0.0.1, gone when the run ends.

Start reading in plugin.py, which holds the fixtures.
"""
