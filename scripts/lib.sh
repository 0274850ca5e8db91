# Shared by the scripts beside it; sourced, not run. Works with bash 3.2, which macOS has.
# After `enter_project` the working directory is the project and its own tools come first in PATH.

BUN_VERSION=1.4.5
REDIS_MAJOR_MIN=7
K6_VERSION=v1.8.1

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

enter_project() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
  PATH="$PWD/.tools/node_modules/.bin:$PWD/.tools/bin:$PATH"
  if have brew; then PATH="$PATH:$(brew --prefix)/bin"; fi
  export PATH
}

# True when version $1 is at least version $2: numbers with dots.
at_least() {
  local i a b
  for i in 1 2 3; do
    a=$(printf '%s..' "$1" | cut -d. -f$i)
    b=$(printf '%s..' "$2" | cut -d. -f$i)
    if [ "${a:-0}" -ne "${b:-0}" ]; then
      [ "${a:-0}" -gt "${b:-0}" ]
      return
    fi
  done
}

# Runs a command as root, or fails when there is no way to.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    return 1
  fi
}

# The package lists of a fresh machine are empty or old, so a failed install refreshes them once.
apt_install() {
  have apt-get || return 1
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" >&2 && return
  as_root apt-get update -q >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" >&2
}

brew_install() {
  have brew || return 1
  say "installing $*"
  brew install "$@" >&2
}

bun_works() {
  have bun && at_least "$(bun --version | cut -d- -f1)" "$BUN_VERSION"
}

ensure_bun() {
  bun_works && return
  say "installing Bun $BUN_VERSION into .tools"
  mkdir -p .tools
  if have npm; then
    npm install --prefix .tools --no-audit --no-fund --loglevel=error "bun@$BUN_VERSION" >&2
  elif have curl; then
    have unzip || apt_install unzip || die "Bun's installer needs unzip"
    curl -fsSL https://bun.sh/install |
      BUN_INSTALL="$PWD/.tools" SHELL=/bin/sh bash -s "bun-v$BUN_VERSION" >&2
  else
    die "Bun $BUN_VERSION is missing, and neither npm nor curl is there to get it"
  fi
  hash -r
  bun_works || die "Bun $BUN_VERSION could not be installed; see https://bun.sh"
}

redis_works() {
  local server version
  for server in "${REDIS_SERVER_PATH:-redis-server}" valkey-server; do
    have "$server" || continue
    version=$("$server" --version | sed -n 's/.*v=\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge "$REDIS_MAJOR_MIN" ] && return
  done
  return 1
}

# Gets a redis-server (or Valkey) that the embedded mode and the tests can start.
install_redis() {
  redis_works && return
  apt_install redis-server || brew_install redis || true
  hash -r
  redis_works && return
  apt_install valkey-server || brew_install valkey || true
  hash -r
  redis_works
}

# For `up`: any Redis will do, so without a package a container serves.
ensure_redis() {
  # Bun reads .env by itself, so a Redis that is named there counts too.
  [ -n "${REDIS_URL:-}" ] || grep -qs '^REDIS_URL=.' .env && return
  install_redis && return
  have docker || die "redis-server $REDIS_MAJOR_MIN or later is missing: install it, or set REDIS_URL"
  docker_redis || die "no redis-server, and Docker could not run one: install it, or set REDIS_URL"
}

docker_redis() {
  local data=${DATA_DIR:-.chatify}/docker-redis
  mkdir -p "$data"
  data=$(cd "$data" && pwd)
  docker start chatify-redis >/dev/null 2>&1 ||
    docker run -d --name chatify-redis -p 127.0.0.1:6379:6379 -v "$data:/data" redis:7 \
      redis-server --appendonly yes --appendfsync always --save "" \
      --maxmemory-policy noeviction >&2 || return
  say "Redis runs in the container chatify-redis; \`docker stop chatify-redis\` ends it"
  export REDIS_URL=redis://127.0.0.1:6379 AUTH_MODE="${AUTH_MODE:-dev}"
  export CLUSTER_SECRET="${CLUSTER_SECRET:-one-node-on-loopback-only}"
}

install_dependencies() {
  bun install --frozen-lockfile >&2 || die "the dependencies could not be installed"
}

# What tests/observability runs for real; Debian's name of Alertmanager is the longer one.
ensure_monitoring() {
  local alertmanager=prometheus-alertmanager
  if ! have prometheus || ! have promtool || ! have amtool; then
    apt_install prometheus prometheus-alertmanager || brew_install prometheus alertmanager || true
    hash -r
  fi
  have "$alertmanager" || alertmanager=alertmanager
  have prometheus && have promtool && have amtool && have "$alertmanager" && return
  die "Prometheus and Alertmanager are missing, and could not be installed"
}

# k6 runs the load scripts in k6/. Nobody packages it for Debian, so Go builds it: two minutes, once.
ensure_k6() {
  have k6 && return
  if have go; then
    say "building k6 $K6_VERSION from source; this takes some minutes, once"
    GOBIN="$PWD/.tools/bin" go install "go.k6.io/k6@$K6_VERSION" >/dev/null 2>&1 || return 1
  else
    brew_install k6 || return 1
  fi
  hash -r
  have k6
}

find_chromium() {
  local name
  for name in "${CHROMIUM_PATH:-}" chromium chromium-browser google-chrome-stable google-chrome \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
    "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
    [ -n "$name" ] && have "$name" && "$name" --version >/dev/null 2>&1 && {
      command -v "$name"
      return
    }
  done
  return 1
}

# Sets CHROMIUM_PATH. Ubuntu's package is a snap that needs a desktop, so Playwright's own build is
# the second choice there.
ensure_chromium() {
  if ! find_chromium >/dev/null; then
    grep -qs '^ID=ubuntu' /etc/os-release || apt_install chromium || true
    hash -r
  fi
  CHROMIUM_PATH=$(find_chromium) || {
    say "installing Playwright's Chromium"
    as_root env "PATH=$PATH" bunx playwright-core install-deps chromium >&2 || true
    bunx playwright-core install chromium >&2
    CHROMIUM_PATH=$(bun -e '
      import { chromium } from "playwright-core";
      process.stdout.write(chromium.executablePath());')
  }
  [ -x "$CHROMIUM_PATH" ] || die "Chromium is missing: install it, or set CHROMIUM_PATH"
  export CHROMIUM_PATH
}

find_postgres() {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
    "$(dirname "$(command -v initdb || echo /none/x)")" \
    "$(have brew && ls -d "$(brew --prefix)"/opt/postgresql*/bin 2>/dev/null | tail -1)"; do
    if [ -x "$dir/initdb" ]; then
      printf '%s\n' "$dir"
      return
    fi
  done
  return 1
}

# Postgres refuses to run as root, so root becomes the user of its package.
as_postgres() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# Starts a throw-away Postgres on a free port of loopback and exports TEST_POSTGRES_URL.
start_test_postgres() {
  [ -n "${TEST_POSTGRES_URL:-}" ] && return
  find_postgres >/dev/null || apt_install postgresql || brew_install postgresql@17 || true
  local bin port password=chatify-test
  bin=$(find_postgres) || die "PostgreSQL is missing: install it, or set TEST_POSTGRES_URL"
  POSTGRES_DIR=$(mktemp -d)
  printf '%s\n' "$password" >"$POSTGRES_DIR/password"
  [ "$(id -u)" -eq 0 ] && chown -R postgres "$POSTGRES_DIR"
  port=$(bun -e '
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    process.stdout.write(String(listener.port));
    listener.stop(true);')
  as_postgres "$bin/initdb" -D "$POSTGRES_DIR/data" -U chatify -A scram-sha-256 -E UTF8 \
    --locale=C --pwfile="$POSTGRES_DIR/password" >/dev/null || die "initdb failed"
  as_postgres "$bin/pg_ctl" -D "$POSTGRES_DIR/data" -w -s -l "$POSTGRES_DIR/log" \
    -o "-h 127.0.0.1 -p $port -k $POSTGRES_DIR" start || die "$(cat "$POSTGRES_DIR/log")"
  export TEST_POSTGRES_URL="postgres://chatify:$password@127.0.0.1:$port/postgres"
}

stop_test_postgres() {
  [ -n "${POSTGRES_DIR:-}" ] || return 0
  as_postgres "$(find_postgres)/pg_ctl" -D "$POSTGRES_DIR/data" -s -m immediate stop || true
  rm -rf "$POSTGRES_DIR"
  POSTGRES_DIR=
}
