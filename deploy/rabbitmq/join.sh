#!/bin/bash
# A broker that joins the first one.
set -euo pipefail

# Brokers let each other in by one secret, which the first has made for itself: nobody has to set it.
install --owner=rabbitmq --group=rabbitmq --mode=400 /first/.erlang.cookie /var/lib/rabbitmq/.erlang.cookie

# One that is new and finds nobody would begin a cluster of its own.
if ! compgen -G '/var/lib/rabbitmq/mnesia/rabbit@*' >/dev/null; then
  until (exec 3<>/dev/tcp/rabbitmq/25672) 2>/dev/null; do
    sleep 1
  done
fi
exec docker-entrypoint.sh rabbitmq-server
