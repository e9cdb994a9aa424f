#!/bin/bash
# Sees to it that the services have roles of their own, and that one of them, no superuser, owns the tables.
set -euo pipefail

export PGPASSWORD=$POSTGRES_PASSWORD
psql --host="$POSTGRES_HOST" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --quiet --no-psqlrc \
  --set=ON_ERROR_STOP=1 --set=database="$POSTGRES_DB" --set=setup="$SETUP_PASSWORD" --set=rest="$REST_PASSWORD" \
  --set=relay="$RELAY_PASSWORD" --set=grpc="$GRPC_PASSWORD" <<'END'
BEGIN;
SELECT format('CREATE ROLE %I LOGIN', name)
  FROM unnest('{colophon_setup,colophon_rest,colophon_relay,colophon_grpc}'::text[]) AS name
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE colophon_setup NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD :'setup';
ALTER ROLE colophon_rest NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD :'rest';
ALTER ROLE colophon_relay NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD :'relay';
ALTER ROLE colophon_grpc NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD :'grpc';
ALTER DATABASE :"database" OWNER TO colophon_setup;
ALTER SCHEMA public OWNER TO colophon_setup;
-- What a release has made whose services came as the superuser. A sequence goes with its table.
SELECT format('ALTER TABLE %s OWNER TO colophon_setup', oid::regclass) FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND relowner <> 'colophon_setup'::regrole \gexec
SELECT format('ALTER FUNCTION %s OWNER TO colophon_setup', oid::regprocedure) FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace AND proowner <> 'colophon_setup'::regrole \gexec
COMMIT;
END
