#!/bin/sh
# Brokers let each other in by one secret, which the first has made for itself: nobody has to set it.
set -eu
install --owner=rabbitmq --group=rabbitmq --mode=400 /first/.erlang.cookie /var/lib/rabbitmq/.erlang.cookie
exec docker-entrypoint.sh rabbitmq-server
