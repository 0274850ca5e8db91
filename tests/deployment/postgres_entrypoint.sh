#!/bin/sh
# What the official image of Postgres does at its first start, as far as compose.yml relies on it.
set -eu
PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "$POSTGRES_PASSWORD" ] || {
    echo "POSTGRES_PASSWORD is empty" >&2
    exit 1
  }
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password)
  # shellcheck disable=SC2086 # These are several arguments.
  initdb -D "$PGDATA" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile=/tmp/password --locale=C -E UTF8 \
    $POSTGRES_INITDB_ARGS
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -h '*' -k /tmp
