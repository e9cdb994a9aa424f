"""Private servers for the tests: real PostgreSQL, Redis and RabbitMQ on free ports of this machine, gone when the run ends.

Start reading in plugin.py, which holds the fixtures.
"""
