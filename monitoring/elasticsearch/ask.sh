# Sourced by the scripts beside it.

# ask METHOD URL USER [BODY]: USER is name:password. All of it reaches curl on its standard input, so
# that the process list shows no secret. BODY is JSON, or @ and a file. Fails with what the server says.
ask() {
  local method=$1 url=$2 user=$3 body=${4:-} answer
  if [ -n "$body" ]; then
    # A value in quotes may hold no end of line, and JSON does not care.
    body=${body//$'\n'/ }
    body="data-binary = \"${body//\"/\\\"}\""
  fi
  answer=$(
    curl -sS --fail-with-body --max-time 60 --config - <<CONFIG
request = "$method"
url = "$url"
user = "$user"
header = "content-type: application/json"
header = "kbn-xsrf: chatify"
$body
CONFIG
  ) || {
    echo "$method $url failed: $answer" >&2
    return 1
  }
  printf '%s\n' "$answer"
}

need() {
  local name
  for name in "$@"; do
    [ -n "${!name:-}" ] || {
      echo "$name is empty: run scripts/env --observability first" >&2
      exit 1
    }
  done
}
