#!/usr/bin/env bash
# What instructions.sh, prepaid.sh, serve.sh, store.sh and store/cold.sh share: servers, each on a core of its own, that end with
# the script. To be sourced, in the repository's folder.

target=${CARGO_TARGET_DIR:-target}
out=$target/bench
path=/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit
started=()

fail() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
  exit 1
}

cleanup() {
  local pid
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  wait
}
trap cleanup EXIT

# Needs the tools that are named: TOOL...
need() {
  local tool
  [ "$(nproc)" -ge 2 ] || fail "needs two cores: one for what is measured, one for the load"
  [ -r /proc/self/schedstat ] || fail "needs Linux's /proc/PID/task/*/schedstat"
  for tool in "$@"; do
    command -v "$tool" >/dev/null ||
      fail "needs $tool: apt-get install redis-server redis-tools nghttp2-client curl"
  done
}

# The shipped policy, and once more with buckets that one tenant cannot empty.
write_policies() {
  mkdir -p "$out/policy"
  cp config/management-api.yaml "$out/policy/"
  sed -e 's/^domain: .*/domain: generous/' -e 's/{ per_\(second\|minute\):/{ size: 2000000, per_\1:/g' \
    config/management-api.yaml >"$out/policy/generous.yaml"
}

# A port that is free now; the servers say so loudly if somebody else takes it.
free_port() {
  local port
  for ((port = 20000 + RANDOM % 10000; ; port++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s' "$port"
}

# Starts a server: NAME CORE PORT COMMAND...; its process id is in $pid.
start() {
  local name=$1 core=$2 port=$3 tries
  shift 3
  taskset -c "$core" "$@" >"$out/$name.log" 2>&1 &
  pid=$!
  started+=("$pid")
  for ((tries = 0; tries < 200; tries++)); do
    kill -0 "$pid" 2>/dev/null || fail "$name did not start; see $out/$name.log"
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    sleep 0.05
  done
  fail "$name does not listen on port $port"
}

# Nanoseconds that a process has spent on a core.
cpu() {
  cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
