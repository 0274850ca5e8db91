#!/usr/bin/env bash
# A Docker engine of the test's own, with base images that are made from this machine's files, so
# that nothing has to be pulled: the program's real Dockerfile and compose.yml then run on it.
#   docker.sh start DIR PID   the engine's files are in DIR, its socket is DIR/docker.sock; it ends
#                             when the process PID has;
#                             exit code 3: no engine can be started here, and stderr says why
#   docker.sh stop DIR        ends the engine with all it runs, and deletes its files
# Images: chatify-test/{bun,runtime,redis,postgres,prometheus,alertmanager}:local. What the last four
# run is what this machine has installed; they take the variables and flags that compose.yml gives
# the official images.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/scripts/lib.sh"
enter_project

usage="usage: docker.sh start DIR PID, or docker.sh stop DIR"
action=${1:?$usage}
dir=${2:?$usage}
export DOCKER_HOST="unix://$dir/docker.sock"

no_engine() {
  say "no Docker engine can be started: $*"
  exit 3
}

wait_for() {
  local seconds=$1 i
  shift
  for ((i = 0; i < seconds * 10; i++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  return 1
}

start_engine() {
  [ "$(uname -s)" = Linux ] || no_engine "this is not Linux"
  [ "$(id -u)" -eq 0 ] || no_engine "only root starts one"
  if ! have dockerd || ! have docker || ! have iptables; then
    apt_install docker.io iptables >&2 || no_engine "dockerd is missing"
    hash -r
  fi
  # It picks the storage driver that works here; vfs, which works everywhere, copies whole layers.
  dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
    -H "$DOCKER_HOST" >"$dir/dockerd.log" 2>&1 </dev/null &
  wait_for 30 docker info || {
    tail -n 5 "$dir/dockerd.log" >&2
    stop_engine
    no_engine "dockerd does not come up"
  }
}

stop_engine() {
  local pid path
  pid=$(cat "$dir/dockerd.pid" 2>/dev/null || true)
  if [ -n "$pid" ]; then
    docker ps -q 2>/dev/null | xargs -r docker kill >/dev/null 2>&1 || true
    kill "$pid" 2>/dev/null || true
    wait_for 30 gone "$pid" || kill -9 "$pid" 2>/dev/null || true
  fi
  # What it left mounted would keep its directory from being deleted.
  sed -n "s#^[^ ]* \($dir/[^ ]*\) .*#\1#p" /proc/mounts | sort -r | while read -r path; do
    umount -l "$path" 2>/dev/null || true
  done
  rm -rf "$dir"
}

# Whoever started it may be killed before it can stop the engine.
end_with() {
  (
    until gone "$1" || [ ! -e "$dir/dockerd.pid" ]; do sleep 1; done
    stop_engine
  ) >/dev/null 2>&1 </dev/null &
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# Copies what PROGRAM is linked with to the same places below ROOTFS.
add_libraries() {
  local rootfs=$1 program=$2 file
  { ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r file; do
    mkdir -p "$rootfs$(dirname "$file")"
    cp -L "$file" "$rootfs$file"
  done
}

add_program() {
  local rootfs=$1 name=$2 target=${3:-$2} program
  program=$(readlink -f "$(command -v "$name")") || die "$name is missing"
  add_libraries "$rootfs" "$program"
  cp "$program" "$rootfs/usr/local/bin/$target"
}

new_rootfs() {
  local rootfs=$1
  mkdir -p "$rootfs"/{tmp,etc,bin,root,usr/local/bin}
  chmod 1777 "$rootfs/tmp"
  printf 'root:x:0:0::/root:/bin/sh\nnonroot:x:65532:65532::/:/none\n' >"$rootfs/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$rootfs/etc/group"
}

# The arguments after the second are instructions of a Dockerfile.
import() {
  local name=$1 rootfs=$2 changes=()
  shift 2
  while [ $# -gt 0 ]; do
    changes+=(--change "$1")
    shift
  done
  tar -C "$rootfs" -c . | docker import ${changes[@]+"${changes[@]}"} - \
    "chatify-test/$name:local" >/dev/null
  rm -rf "$rootfs"
}

# Bun, a shell, and the packages that the lock file names: the build installs them from there.
bun_image() {
  local rootfs=$dir/bun program
  new_rootfs "$rootfs"
  for program in sh mkdir; do add_program "$rootfs" "$program"; done
  # `bun` may be a script that finds the program for this machine; the program knows where it is.
  program=$(bun -p process.execPath)
  add_libraries "$rootfs" "$program"
  cp "$program" "$rootfs/usr/local/bin/bun"
  ln -s ../usr/local/bin/sh "$rootfs/bin/sh"
  mkdir "$dir/install"
  cp package.json bun.lock bunfig.toml "$dir/install"
  (cd "$dir/install" && BUN_INSTALL_CACHE_DIR="$rootfs/root/.bun/install/cache" \
    bun install --frozen-lockfile --production >&2)
  import bun "$rootfs"
}

# As bare as the image that the Dockerfile names: what the program is linked with, and no shell.
runtime_image() {
  local rootfs=$dir/runtime
  new_rootfs "$rootfs"
  add_libraries "$rootfs" "$(bun -p process.execPath)"
  import runtime "$rootfs"
}

redis_image() {
  local rootfs=$dir/redis program
  new_rootfs "$rootfs"
  for program in sh grep redis-server redis-cli; do add_program "$rootfs" "$program"; done
  ln -s ../usr/local/bin/sh "$rootfs/bin/sh"
  import redis "$rootfs"
}

# With the programs, libraries and shared files of the installed Postgres, where they are here.
postgres_image() {
  local rootfs=$dir/postgres bin home share file
  find_postgres >/dev/null || apt_install postgresql || die "PostgreSQL is missing"
  bin=$(find_postgres)
  home=$("$bin/pg_config" --pkglibdir)
  share=$("$bin/pg_config" --sharedir)
  new_rootfs "$rootfs"
  for file in sh cat; do add_program "$rootfs" "$file"; done
  ln -s ../usr/local/bin/sh "$rootfs/bin/sh"
  mkdir -p "$rootfs$bin" "$rootfs$home" "$rootfs$share" "$rootfs/var/lib/postgresql/data"
  cp -rL "$home/." "$rootfs$home"
  cp -rL "$share/." "$rootfs$share"
  for file in postgres initdb pg_isready; do
    cp -L "$bin/$file" "$rootfs$bin/$file"
    ln -sf "$bin/$file" "$rootfs/usr/local/bin/$file"
    add_libraries "$rootfs" "$bin/$file"
  done
  cp "$root/tests/deployment/postgres_entrypoint.sh" "$rootfs/usr/local/bin/entrypoint"
  chown -R 65532:65532 "$rootfs/var/lib/postgresql"
  import postgres "$rootfs" 'USER 65532' 'ENTRYPOINT ["/bin/sh", "/usr/local/bin/entrypoint"]'
}

monitoring_images() {
  local rootfs=$dir/monitoring name program
  ensure_monitoring
  have wget || apt_install wget || die "wget is missing"
  for name in prometheus alertmanager; do
    program=$name
    have "$program" || program=prometheus-$name
    new_rootfs "$rootfs"
    add_program "$rootfs" "$program" "$name"
    add_program "$rootfs" wget
    # Debian's have their templates in files.
    if [ -d /usr/share/prometheus ]; then
      mkdir -p "$rootfs/usr/share"
      cp -rL /usr/share/prometheus "$rootfs/usr/share/prometheus"
    fi
    mkdir "$rootfs/$name"
    chown 65532:65532 "$rootfs/$name"
    import "$name" "$rootfs" "ENTRYPOINT [\"/usr/local/bin/$name\"]" 'USER 65532' "WORKDIR /$name"
  done
}

case $action in
start)
  mkdir -p "$dir"
  start_engine
  end_with "${3:?$usage}"
  bun_image
  runtime_image
  redis_image
  postgres_image
  monitoring_images
  ;;
stop) stop_engine ;;
*) die "$usage" ;;
esac
