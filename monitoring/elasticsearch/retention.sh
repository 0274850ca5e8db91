#!/usr/bin/env bash
# Deletes Jaeger's daily indices that are older than SPAN_DAYS, every hour: Jaeger itself deletes none.
# With `--once` it looks once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/ask.sh"
need ELASTICSEARCH_URL JAEGER_PASSWORD
user=chatify_jaeger:$JAEGER_PASSWORD

sweep() {
  local oldest index
  oldest=$(date -u -d "-${SPAN_DAYS:-7} days" +%Y-%m-%d)
  ask GET "$ELASTICSEARCH_URL/_cat/indices/chatify-jaeger-*?h=index" "$user" |
    while read -r index; do
      [[ $index =~ ^chatify-jaeger-[a-z]+-([0-9]{4}-[0-9]{2}-[0-9]{2})$ ]] || continue
      [[ ${BASH_REMATCH[1]} < $oldest ]] || continue
      ask DELETE "$ELASTICSEARCH_URL/$index" "$user" >/dev/null
      echo "deleted $index"
    done
}

while :; do
  # What fails today is tried again; the health check sees how long ago it last worked.
  if sweep; then touch /tmp/swept; elif [ "${1:-}" = --once ]; then exit 1; fi
  [ "${1:-}" != --once ] || exit 0
  sleep 3600 &
  trap 'kill $!; exit 0' TERM INT
  wait $!
done
