#!/usr/bin/env bash
# Gives Kibana the data view, the saved searches and the dashboard of saved_objects.ndjson. It may run
# again: what it brought before is replaced.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for name in KIBANA_URL ELASTIC_PASSWORD; do
  [ -n "${!name:-}" ] || {
    echo "$name is empty: run scripts/env --observability first" >&2
    exit 1
  }
done

# Kibana answers 200 even when it took nothing, and says so in the body.
answer=$(
  curl -sS --fail-with-body --max-time 120 --config - <<CONFIG
request = "POST"
url = "$KIBANA_URL/api/saved_objects/_import?overwrite=true"
user = "elastic:$ELASTIC_PASSWORD"
header = "kbn-xsrf: chatify"
form = "file=@$here/saved_objects.ndjson"
CONFIG
) || {
  echo "importing the saved objects failed: $answer" >&2
  exit 1
}
case $answer in
*'"success":true'*) echo "Kibana has Chatify's saved objects" ;;
*)
  echo "Kibana did not take the saved objects: $answer" >&2
  exit 1
  ;;
esac
