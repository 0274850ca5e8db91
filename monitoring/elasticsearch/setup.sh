#!/usr/bin/env bash
# Prepares Elasticsearch for what writes to it and reads from it: users that may do no more than they
# must, the life cycle and the template of the logs. It may run again, also with new passwords.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/ask.sh"
need ELASTICSEARCH_URL ELASTIC_PASSWORD KIBANA_SYSTEM_PASSWORD FILEBEAT_PASSWORD JAEGER_PASSWORD

put() {
  echo "$2"
  ask "$1" "$ELASTICSEARCH_URL$2" "elastic:$ELASTIC_PASSWORD" "$3" >/dev/null
}

put POST /_security/user/kibana_system/_password "{\"password\":\"$KIBANA_SYSTEM_PASSWORD\"}"

put PUT /_security/role/chatify_filebeat '{
  "cluster": ["monitor"],
  "indices": [{ "names": ["logs-chatify-*"], "privileges": ["create_doc", "auto_configure"] }]
}'
put PUT /_security/user/chatify_filebeat \
  "{\"password\":\"$FILEBEAT_PASSWORD\",\"roles\":[\"chatify_filebeat\"]}"

put PUT /_security/role/chatify_jaeger '{
  "cluster": ["monitor", "manage_index_templates"],
  "indices": [{ "names": ["chatify-jaeger-*"], "privileges": ["all"] }]
}'
put PUT /_security/user/chatify_jaeger \
  "{\"password\":\"$JAEGER_PASSWORD\",\"roles\":[\"chatify_jaeger\"]}"

put PUT /_ilm/policy/chatify-logs "@$here/logs_lifecycle.json"
put PUT /_index_template/chatify-logs "@$here/index_template.json"
echo "Elasticsearch is ready for logs and traces"
