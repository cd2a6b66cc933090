#!/usr/bin/env bash
# What a call costs, beside the least that a gRPC server can cost:
#
#   bash benches/serve.sh [REPETITIONS] [CALLS]        defaults: 5 and 100000
#
# Runs tollgate with config/management-api.yaml and benches/serve/baseline.rs side by side, each with one
# thread, pinned to one core; the load comes from another. They take turns, repetition by repetition, so
# that what the machine does meanwhile hits both. The figure to look at is the ratio: the median, over the
# repetitions, of tollgate's CPU time per call (user and system) over the baseline's. Absolute times are
# the machine's affair.
#
# Needs Linux and two cores. Prints a table, and writes target/bench/serve.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

repetitions=${1:-5}
calls=${2:-100000}
target=${CARGO_TARGET_DIR:-target}
out=$target/bench
mkdir -p "$out"
: >"$out/serve.lines"
started=()

fail() {
  printf 'serve: %s\n' "$*" >&2
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

[ "$(nproc)" -ge 2 ] || fail "needs two cores: one for the server, one for the load"
[ -r /proc/self/schedstat ] || fail "needs Linux's /proc/PID/task/*/schedstat"

cargo build --release --locked --bin tollgate --example baseline --example load

# A port that is free now; both servers say so loudly if somebody else takes it.
free_port() {
  local port
  for ((port = 20000 + RANDOM % 10000; ; port++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s' "$port"
}

wait_for() {
  local port=$1 pid=$2 tries
  for ((tries = 0; tries < 200; tries++)); do
    kill -0 "$pid" 2>/dev/null || fail "a server did not start; see $out"
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    sleep 0.05
  done
  fail "nothing listens on port $port"
}

baseline_port=$(free_port)
taskset -c 0 "$target/release/examples/baseline" "127.0.0.1:$baseline_port" >"$out/baseline.log" 2>&1 &
baseline_pid=$!
started+=("$baseline_pid")
wait_for "$baseline_port" "$baseline_pid"

tollgate_port=$(free_port)
taskset -c 0 "$target/release/tollgate" serve --workers 1 --log-level warn \
  --grpc "127.0.0.1:$tollgate_port" --http 127.0.0.1:0 >"$out/tollgate.log" 2>&1 &
tollgate_pid=$!
started+=("$tollgate_pid")
wait_for "$tollgate_port" "$tollgate_pid"

# Nanoseconds that a process has spent on a core.
cpu() {
  cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# measure SERVER PORT PID CASE CONNECTIONS STREAMS KIND: one line of figures.
measure() {
  local server=$1 port=$2 pid=$3 case=$4 connections=$5 streams=$6 kind=$7 before after told
  before=$(cpu "$pid")
  told=$(taskset -c 1 "$target/release/examples/load" "127.0.0.1:$port" "$connections" "$streams" "$calls" "$kind")
  after=$(cpu "$pid")
  printf '%s %s %s %s\n' "$case" "$server" "$(((after - before) / calls))" "$told" >>"$out/serve.lines"
}

turns() {
  local repetition
  for ((repetition = 0; repetition < repetitions; repetition++)); do
    measure baseline "$baseline_port" "$baseline_pid" "$@"
    measure tollgate "$tollgate_port" "$tollgate_pid" "$@"
  done
}

# The first turn warms up: connections, allocators, the branch predictor.
measure baseline "$baseline_port" "$baseline_pid" warm-up 4 50 admitted
measure tollgate "$tollgate_port" "$tollgate_pid" warm-up 4 50 admitted

turns admitted-m1 4 1 admitted
turns admitted-m8 4 8 admitted
turns admitted-m50 4 50 admitted
turns tenants-m50 4 50 tenants
turns denied-m50 4 50 denied

peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$tollgate_pid/status")
awk -v peak="$peak" '
  function field(name,   rest) {
    rest = $0
    sub(".*\"" name "\": ", "", rest)
    sub("[,}].*", "", rest)
    return rest + 0
  }
  function median(list, count,   sorted, i, j, swap) {
    for (i = 1; i <= count; i++) sorted[i] = list[i]
    for (i = 1; i <= count; i++)
      for (j = i + 1; j <= count; j++)
        if (sorted[j] < sorted[i]) { swap = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swap }
    return count % 2 ? sorted[(count + 1) / 2] : (sorted[count / 2] + sorted[count / 2 + 1]) / 2
  }
  $1 == "warm-up" { next }
  {
    if (!($1 in seen)) { seen[$1] = 1; order[++cases] = $1 }
    key = $1 SUBSEP $2
    n = ++turns[key]
    cost[key, n] = $3
    rate[key, n] = field("calls_per_second")
    p50[key, n] = field("p50_us"); p99[key, n] = field("p99_us"); p999[key, n] = field("p999_us")
    denied[key, n] = 100 * field("denied") / field("calls")
  }
  function middle(of, key,   list, i) {
    for (i = 1; i <= turns[key]; i++) list[i] = of[key, i]
    return median(list, turns[key])
  }
  END {
    printf "%-13s %-9s %9s %9s %7s %7s %8s %8s\n", "case", "server", "ns/call", "calls/s", "p50 us", "p99 us", "p99.9 us", "denied %" > "/dev/stderr"
    printf "{\"peak_mib\": %d, \"cases\": {", peak
    for (c = 1; c <= cases; c++) {
      base = order[c] SUBSEP "baseline"; own = order[c] SUBSEP "tollgate"
      for (i = 1; i <= turns[own]; i++) ratios[i] = cost[own, i] / cost[base, i]
      ratio = median(ratios, turns[own])
      split("baseline tollgate", servers, " ")
      printf "%s\"%s\": {\"ratio\": %.3f", (c > 1 ? ", " : ""), order[c], ratio
      for (s = 1; s <= 2; s++) {
        key = order[c] SUBSEP servers[s]
        printf "%-13s %-9s %9d %9d %7d %7d %8d %8.1f\n", order[c], servers[s], middle(cost, key), middle(rate, key), middle(p50, key), middle(p99, key), middle(p999, key), middle(denied, key) > "/dev/stderr"
        printf ", \"%s\": {\"cpu_ns\": %d, \"calls_per_second\": %d, \"p50_us\": %d, \"p99_us\": %d, \"p999_us\": %d}", servers[s], middle(cost, key), middle(rate, key), middle(p50, key), middle(p99, key), middle(p999, key)
      }
      printf "%-13s ratio %.2f\n", order[c], ratio > "/dev/stderr"
      printf "}"
    }
    printf "}}\n"
    printf "tollgate at its peak: %d MiB\n", peak > "/dev/stderr"
  }
' "$out/serve.lines" >"$out/serve.json"
