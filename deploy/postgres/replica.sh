#!/bin/bash
# A PostgreSQL that follows the one at $PRIMARY. What it has cloned once it keeps, whatever becomes of the other.
set -euo pipefail

slot=replica
clone=${PGDATA}.incomplete

if [ ! -e "$PGDATA" ]; then
  export PGPASSWORD=$POSTGRES_PASSWORD
  psql --host="$PRIMARY" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --quiet --no-align --tuples-only \
    --command="SELECT pg_create_physical_replication_slot('$slot', true)
      WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$slot')"
  # One that was interrupted is of no use, and looks like a database.
  rm -rf "$clone"
  install --directory --owner=postgres --group=postgres --mode=700 "$clone"
  gosu postgres pg_basebackup --host="$PRIMARY" --username="$POSTGRES_USER" --pgdata="$clone" \
    --checkpoint=fast --wal-method=stream --slot="$slot" --write-recovery-conf
  mv "$clone" "$PGDATA"
  unset PGPASSWORD
fi
exec docker-entrypoint.sh "$@"
