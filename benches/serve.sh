#!/usr/bin/env bash
# Measures the cost of a call, compared with a gRPC server that does nothing:
#
#   bash benches/serve.sh [REPETITIONS] [CALLS]        defaults: 5 and 100000
#
# Runs tollgate with config/management-api.yaml and benches/serve/baseline.rs side by side, each with one
# thread, pinned to one core; the load comes from another. They take turns, repetition by repetition, so
# that other work of the machine affects both. The important figure is the ratio: the median, over the
# repetitions, of tollgate's CPU time per call (user and system) divided by the baseline's. Absolute times
# depend on the machine.
#
#   h2load-mN   h2load, N streams on each of four connections: one tenant, whose four buckets admit it. The
#               policy is the shipped one, but with larger buckets: h2load sends one body.
#   tls-m50     the same over TLS
#   denied-m50  the same on the shipped policy, with an empty bucket
#   admitted    10,000 tenants in turn on the shipped policy, by benches/serve/load.rs, 50 streams each
#   tenants     the same with 100,000
#
# Fails if a ratio is above its limit: 0.60 at one stream, 0.42 at eight, 0.40 at 50, also if every call is denied,
# 0.45 over TLS, 0.42 for 10,000 tenants and 0.50 for 100,000. Needs Linux, two cores, curl, and h2load (Debian's nghttp2-client). Prints a table, and writes
# target/bench/serve.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

repetitions=${1:-5}
calls=${2:-100000}
write_policies
: >"$out/serve.lines"

need h2load curl
cargo build --release --locked --features bench-drivers --bin tollgate --example baseline --example load
load=$target/release/examples/load
"$load" write "$out"

declare -A ports pids
for kind in plain tls; do
  ports[baseline-$kind]=$(free_port)
  certificate=()
  [ "$kind" = plain ] || certificate=("$out/cert.pem" "$out/key.pem")
  start "baseline-$kind" 0 "${ports[baseline-$kind]}" \
    "$target/release/examples/baseline" "127.0.0.1:${ports[baseline-$kind]}" "${certificate[@]}"
  pids[baseline-$kind]=$pid
  ports[tollgate-$kind]=$(free_port)
  ports[http-$kind]=$(free_port)
  [ "$kind" = plain ] || certificate=(--grpc-tls-cert "$out/cert.pem" --grpc-tls-key "$out/key.pem")
  start "tollgate-$kind" 0 "${ports[tollgate-$kind]}" \
    "$target/release/tollgate" serve --config "$out/policy" --workers 1 --log-level warn --drain-delay 0s \
    --grpc "127.0.0.1:${ports[tollgate-$kind]}" --http "127.0.0.1:${ports[http-$kind]}" "${certificate[@]}"
  pids[tollgate-$kind]=$pid
done

# How many requests tollgate has denied: KIND.
denied() {
  curl -s "http://127.0.0.1:${ports[http-$1]}/metrics" |
    awk '/^tollgate_requests_total.*code="over_limit"/ { sum += $2 } END { printf "%.0f", sum }'
}

# h2load writes to its log once a call. tollgate watches the folders on the path of its policy, so that the log must
# not be in one of them: each write would be an event that its thread for files has to look at.
mkdir -p "$out/log"
log=$out/log/h2load.log

# One JSON object of h2load's figures: URL STREAMS BODY. Its log has the microseconds of each call in its
# third column.
h2load_once() {
  rm -f "$log"
  taskset -c 1 h2load -n "$calls" -c 4 -m "$2" -d "$out/$3.grpc" --log-file="$log" \
    -H 'content-type: application/grpc' -H 'te: trailers' "$1" >"$out/h2load.out"
  grep -q " $calls succeeded" "$out/h2load.out" || fail "calls failed; see $out/h2load.out"
  sort -n -k 3,3 "$log" | awk -v calls="$calls" -v rate="$(awk '/^finished in/ { print $4 }' "$out/h2load.out")" '
    NR == int(calls * 0.5) { p50 = $3 } NR == int(calls * 0.99) { p99 = $3 } NR == int(calls * 0.999) { p999 = $3 }
    END { printf "{\"calls\": %d, \"calls_per_second\": %d, \"p50_us\": %d, \"p99_us\": %d, \"p999_us\": %d}\n", calls, rate, p50, p99, p999 }'
}

# One line of figures: CASE SERVER KIND STREAMS WHAT.
measure() {
  local case=$1 server=$2 kind=$3 streams=$4 what=$5 scheme=http before after told denials=0
  local port=${ports[$server-$kind]} pid=${pids[$server-$kind]}
  [ "$kind" = plain ] || scheme=https
  [ "$server" = baseline ] || denials=$(denied "$kind")
  before=$(cpu "$pid")
  case $what in
    admitted | denied) told=$(h2load_once "$scheme://127.0.0.1:$port$path" "$streams" "$what") ;;
    *) told=$(taskset -c 1 "$load" "127.0.0.1:$port" 4 "$streams" "$calls" "${what#many-}") ;;
  esac
  after=$(cpu "$pid")
  [ "$server" = baseline ] || denials=$(($(denied "$kind") - denials))
  printf '%s %s %s %s %s\n' "$case" "$server" "$(((after - before) / calls))" "$denials" "$told" >>"$out/serve.lines"
}

turns() {
  local repetition case=$1
  shift
  for ((repetition = 0; repetition < repetitions; repetition++)); do
    measure "$case" baseline "$@"
    measure "$case" tollgate "$@"
  done
}

# Two virtual cores may share a real one, and a core is slower while its neighbour is busy. So the load's core is
# always busy: whenever the load waits, as it does for the slower server, a process of the least priority spins.
taskset -c 1 nice -n 19 sh -c 'while :; do :; done' &
started+=("$!")

# The first turns warm up: connections, allocators, the branch predictor.
for kind in plain tls; do
  measure warm-up baseline "$kind" 50 admitted
  measure warm-up tollgate "$kind" 50 admitted
done

turns h2load-m1 plain 1 admitted
turns h2load-m8 plain 8 admitted
turns h2load-m50 plain 50 admitted
turns tls-m50 tls 50 admitted
turns denied-m50 plain 50 denied
turns admitted plain 50 many-admitted
turns tenants plain 50 many-tenants

peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${pids[tollgate-plain]}/status")
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
    denied[key, n] = 100 * $4 / field("calls")
    rate[key, n] = field("calls_per_second")
    p50[key, n] = field("p50_us"); p99[key, n] = field("p99_us"); p999[key, n] = field("p999_us")
  }
  function middle(of, key,   list, i) {
    for (i = 1; i <= turns[key]; i++) list[i] = of[key, i]
    return median(list, turns[key])
  }
  END {
    limit["h2load-m1"] = 0.60
    limit["h2load-m8"] = limit["admitted"] = 0.42
    limit["h2load-m50"] = limit["denied-m50"] = 0.40
    limit["tls-m50"] = 0.45
    limit["tenants"] = 0.50
    printf "%-11s %-9s %9s %9s %7s %7s %8s %8s\n", "case", "server", "ns/call", "calls/s", "p50 us", "p99 us", "p99.9 us", "denied %" > "/dev/stderr"
    printf "{\"peak_mib\": %d, \"cases\": {", peak
    for (c = 1; c <= cases; c++) {
      base = order[c] SUBSEP "baseline"; own = order[c] SUBSEP "tollgate"
      for (i = 1; i <= turns[own]; i++) ratios[i] = cost[own, i] / cost[base, i]
      ratio = median(ratios, turns[own])
      split("baseline tollgate", servers, " ")
      printf "%s\"%s\": {\"ratio\": %.3f", (c > 1 ? ", " : ""), order[c], ratio
      for (s = 1; s <= 2; s++) {
        key = order[c] SUBSEP servers[s]
        printf "%-11s %-9s %9d %9d %7d %7d %8d %8.1f\n", order[c], servers[s], middle(cost, key), middle(rate, key), middle(p50, key), middle(p99, key), middle(p999, key), middle(denied, key) > "/dev/stderr"
        printf ", \"%s\": {\"cpu_ns\": %d, \"calls_per_second\": %d, \"p50_us\": %d, \"p99_us\": %d, \"p999_us\": %d}", servers[s], middle(cost, key), middle(rate, key), middle(p50, key), middle(p99, key), middle(p999, key)
      }
      printf "%-11s ratio %.2f", order[c], ratio > "/dev/stderr"
      if (order[c] in limit) {
        printf " of %.2f%s", limit[order[c]], (ratio > limit[order[c]] ? ": missed" : "") > "/dev/stderr"
        if (ratio > limit[order[c]]) missed = 1
      }
      printf "\n" > "/dev/stderr"
      printf "}"
    }
    printf "}}\n"
    printf "tollgate at its peak: %d MiB\n", peak > "/dev/stderr"
    exit missed
  }
' "$out/serve.lines" >"$out/serve.json"
