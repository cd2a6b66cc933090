#!/usr/bin/env bash
# Checks that tollgate does not degrade under hours of mixed load:
#
#   bash benches/soak.sh [SECONDS]        default: 3600
#
# Two servers on one core, one with its buckets in memory, one that keeps them in a Redis of its own. On the other
# core, all the while, for each of them:
#
#   honest callers   make six calls against a limit of five (benches/soak/callers.rs)
#   ordinary load    200 calls a second (benches/serve/load.rs), on new connections every 30 s
#   a flood          of new addresses, with more than --max-keys buckets that are not full at a time
#   harm             calls that are reset, and answers that are not read, over gRPC and over HTTP
#   reloads          every 3 s, of a policy whose rows have other names
#   restarts         of Redis, every 30 s: killed, and started again 3 s later with nothing in it
#
# Each second the script reads memory, descriptors and threads of both from /proc, and asks /healthz. It prints a table
# of their medians. It fails if that of the last quarter of the time is above that of the third by more than the
# tolerance in the table (the first half is for the allocator to find its size), if a call of an honest caller or of the
# load was not answered or answered wrongly (while Redis is unavailable the policy decides in memory, so that the sixth
# call may pass there), if a probe failed, a reload was refused, or a thread panicked, or if a server does not end on
# SIGTERM.
#
# Needs Linux, two cores, curl, and redis-server or valkey-server (or TOLLGATE_VALKEY, the path of one). All
# servers listen on 127.0.0.1 and end with the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

seconds=${1:-3600}
[ "$seconds" -ge 60 ] || fail "takes 60 seconds at least"
need curl
redis=${TOLLGATE_VALKEY:-$(command -v redis-server || command -v valkey-server || true)}
[ -n "$redis" ] || fail "needs redis-server or valkey-server: apt-get install redis-server"

cargo build --release --locked --features bench-drivers --bin tollgate --example load --example soak
out=$out/soak
rm -rf "$out"
mkdir -p "$out/policy"
cp config/management-api.yaml benches/soak/policy.yaml "$out/policy/"

# The policy of this number: ROUND.
write_churn() {
  {
    printf 'domain: churn\ntables:\n  - name: t\n    select: kind\n    key: [k]\n    rows:\n'
    for ((row = 0; row < 20; row++)); do
      printf '      row_%s_%s: [{ per_minute: 5 }]\n' "$1" "$row"
    done
  } >"$out/churn.new"
  mv "$out/churn.new" "$out/policy/churn.yaml"
}
write_churn 0

redis_port=$(free_port)
start_redis() {
  start redis 0 "$redis_port" "$redis" --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no
  redis_pid=$pid
}
start_redis

declare -A grpc http pids
for server in memory shared; do
  grpc[$server]=$(free_port)
  http[$server]=$(free_port)
  store=memory
  [ "$server" = memory ] || store=redis://127.0.0.1:$redis_port
  start "$server" 0 "${grpc[$server]}" "$target/release/tollgate" serve --config "$out/policy" --workers 1 \
    --store "$store" --max-keys 100000 --max-connection-age 2m --drain-delay 0s --log-format json --log-denied-per-second 10 \
    --grpc "127.0.0.1:${grpc[$server]}" --http "127.0.0.1:${http[$server]}"
  pids[$server]=$pid
done

# One after another until the time is over: SERVER.
ordinary_load() {
  while [ "$SECONDS" -lt "$end" ]; do
    taskset -c 1 "$target/release/examples/load" "127.0.0.1:${grpc[$1]}" 2 8 6000 admitted 200 || return 1
  done
}

end=$((SECONDS + seconds))
callers=()
# NAME COMMAND...
caller() {
  local name=$1
  shift
  "$@" >"$out/$name.out" 2>&1 &
  callers+=("$name:$!")
  started+=("$!")
}
for server in memory shared; do
  kind=exact
  [ "$server" = memory ] || kind=honest
  caller "honest-$server" taskset -c 1 "$target/release/examples/soak" "$kind" "127.0.0.1:${grpc[$server]}" "$seconds"
  for kind in flood resets unread; do
    caller "$kind-$server" taskset -c 1 "$target/release/examples/soak" "$kind" "127.0.0.1:${grpc[$server]}" "$seconds"
  done
  caller "unread-http-$server" taskset -c 1 "$target/release/examples/soak" unread-http "127.0.0.1:${http[$server]}" "$seconds"
  caller "load-$server" ordinary_load "$server"
done

failures=0
complain() {
  printf 'soak: %s\n' "$*" >&2
  failures=$((failures + 1))
}

# A line for flat.awk: SERVER.
sample() {
  local pid=${pids[$1]} status descriptors
  status=$(awk '/^VmRSS/ { rss = $2 } /^Threads/ { threads = $2 } END { print rss, threads }' "/proc/$pid/status")
  descriptors=("/proc/$pid/fd/"*)
  printf '%s %s %s %s %s\n' "$tick" "$1" "${status% *}" "${#descriptors[@]}" "${status#* }" >>"$out/samples"
}

for ((tick = 1; SECONDS < end; tick++)); do
  sleep 1
  for server in memory shared; do
    kill -0 "${pids[$server]}" 2>/dev/null || fail "$server died after $tick s; see $out/$server.log"
    sample "$server"
    curl -sf --max-time 5 "http://127.0.0.1:${http[$server]}/healthz" >/dev/null || complain "$tick s: /healthz of $server"
  done
  [ $((tick % 3)) -ne 0 ] || write_churn "$tick"
  case $((tick % 30)) in
    20) kill "$redis_pid" ;;
    23)
      wait "$redis_pid" || true
      start_redis
      ;;
  esac
done

for named in "${callers[@]}"; do
  wait "${named#*:}" || complain "${named%:*} failed: $(tail -n 1 "$out/${named%:*}.out")"
done
for server in memory shared; do
  curl -s --max-time 10 "http://127.0.0.1:${http[$server]}/metrics" >"$out/$server.metrics" || complain "/metrics of $server"
  grep -q '^tollgate_config_reload_errors_total 0$' "$out/$server.metrics" || complain "$server refused a policy"
  if grep -q panicked "$out/$server.log"; then complain "$server panicked; see $out/$server.log"; fi
  kill "${pids[$server]}"
  wait "${pids[$server]}" || complain "$server did not end well: $?"
done

for named in "${callers[@]}"; do
  case $named in
    load-*) ;;
    *) printf '%-18s %s\n' "${named%:*}" "$(tail -n 1 "$out/${named%:*}.out")" ;;
  esac
done
for server in memory shared; do
  printf '%-18s %s calls decided, %s keys evicted, %s series, %s log lines dropped\n' "$server" \
    "$(awk '/^tollgate_requests_total/ { sum += $2 } END { printf "%d", sum }' "$out/$server.metrics")" \
    "$(awk '/^tollgate_evictions_total/ { print $2 }' "$out/$server.metrics")" \
    "$(grep -vc '^#' "$out/$server.metrics")" \
    "$(awk '/^tollgate_log_lines_dropped_total/ { print $2 }' "$out/$server.metrics")"
done
awk -f benches/soak/flat.awk "$out/samples" || complain "not flat"
[ "$failures" -eq 0 ] || fail "$failures of what it looks at failed"
