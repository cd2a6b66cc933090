#!/usr/bin/env bash
# Compares the throughput of a shared store through tollgate with that of the store itself:
#
#   bash benches/store.sh [REPETITIONS] [CALLS]        defaults: 5 and 100000
#
# One Redis, pinned to one core; its callers, and tollgate, share the other. They take turns, repetition by
# repetition:
#
#   script      redis-cli with the same call of the script that tollgate makes, as MONITOR shows it, one call behind
#               another
#   tollgate    h2load with the request that leads to this call, on four connections of 50 streams each
#
# Then, at half of tollgate's rate from benches/serve/load.rs, alternating with a tollgate that decides in memory: the
# latency that the store adds to a call. Then the calls of the script per request, as Redis itself counts them (INFO
# commandstats): 1 for an admitted request, 0 for a repeated denial.
#
# tollgate asks for each request here; benches/prepaid.sh measures what prepaid admissions spare. Fails if tollgate
# reaches less than 0.8 of redis-cli, or asks more often. Needs Linux, two cores, curl,
# redis-server with redis-cli, and h2load (Debian's redis-server, redis-tools and
# nghttp2-client). Prints a table, and writes target/bench/store.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh
. benches/support/script_calls.sh

repetitions=${1:-5}
calls=${2:-100000}
least=0.8
write_policies
: >"$out/store.lines"

((calls % 1000 == 0)) || fail "CALLS are thousands"
need redis-server redis-cli h2load curl
cargo build --release --locked --features bench-drivers --bin tollgate --example load
"$target/release/examples/load" write "$out"

redis_port=$(free_port)
start redis 0 "$redis_port" redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no
redis_pid=$pid

declare -A ports pids
for store in shared memory; do
  ports[$store]=$(free_port)
  http=$(free_port)
  address=memory
  [ "$store" = memory ] || address=redis://127.0.0.1:$redis_port
  start "tollgate-$store" 1 "${ports[$store]}" \
    "$target/release/tollgate" serve --config "$out/policy" --workers 1 --log-level warn --drain-delay 0s \
    --store "$address" --store-prepaid off \
    --grpc "127.0.0.1:${ports[$store]}" --http "127.0.0.1:$http"
  pids[$store]=$pid
  curl -sf --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$http/readyz" >/dev/null ||
    fail "tollgate is not ready; see $out/tollgate-$store.log"
done

ask_redis() { redis-cli -h 127.0.0.1 -p "$redis_port" "$@"; }

# How often the script was called, as a function or by its hash.
script_calls() {
  ask_redis info commandstats | tr -d '\r' |
    awk -F '[=,]' '/^cmdstat_(fcall|evalsha):/ { sum += $2 } END { printf "%d", sum }'
}

# Makes CALLS calls of the tollgate that shares its store: BODY CALLS. Prints the number of calls per second.
h2load_once() {
  taskset -c 1 h2load -n "$2" -c 4 -m 50 -d "$out/$1.grpc" \
    -H 'content-type: application/grpc' -H 'te: trailers' \
    "http://127.0.0.1:${ports[shared]}$path" >"$out/h2load.out"
  grep -q " $2 succeeded" "$out/h2load.out" || fail "calls failed; see $out/h2load.out"
  awk '/^finished in/ { printf "%d\n", $4 }' "$out/h2load.out"
}

h2load_once admitted 1000 >/dev/null
keep_call admitted taskset -c 1 h2load -n 1 -c 1 -d "$out/admitted.grpc" \
  -H 'content-type: application/grpc' -H 'te: trailers' "http://127.0.0.1:${ports[shared]}$path"

# One line: WHO, calls per second, nanoseconds of the store and of tollgate for each call.
measure() {
  local who=$1 rate store own=0 begun
  store=$(cpu "$redis_pid")
  if [ "$who" = script ]; then
    begun=$(date +%s%N)
    make_calls admitted "$calls"
    rate=$((calls * 1000000 / (($(date +%s%N) - begun) / 1000)))
  else
    own=$(cpu "${pids[shared]}")
    rate=$(h2load_once admitted "$calls")
    own=$(($(cpu "${pids[shared]}") - own))
  fi
  printf '%s %s %s %s\n' "$who" "$rate" "$((($(cpu "$redis_pid") - store) / calls))" "$((own / calls))" >>"$out/store.lines"
}

median() { sort -n | awk '{ list[NR] = $1 } END { print list[int((NR + 1) / 2)] }'; }
of() { awk -v who="$1" -v column="$2" '$1 == who { print $column }' "$out/store.lines" | median; }

measure script
measure tollgate
: >"$out/store.lines"
for ((repetition = 0; repetition < repetitions; repetition++)); do
  measure script
  measure tollgate
done
ratio=$(awk '$1 == "script" { base = $2 } $1 == "tollgate" { print $2 / base }' "$out/store.lines" | median)

# At half load, for a second each: 10,000 tenants in turn, at a steady pace.
half=$(of tollgate 2 | awk '{ printf "%d", $1 / 2 }')
for ((repetition = 0; repetition < repetitions; repetition++)); do
  for store in memory shared; do
    taskset -c 1 "$target/release/examples/load" "127.0.0.1:${ports[$store]}" 4 50 "$half" admitted "$half" |
      sed -n "s/.*\"p50_us\": \([0-9]*\), \"p99_us\": \([0-9]*\).*/half-$store \1 \2/p" >>"$out/store.lines"
  done
done

before=$(script_calls)
h2load_once admitted "$calls" >/dev/null
for_admitted=$(($(script_calls) - before))

# The first calls empty the bucket, which is of five a day.
h2load_once denied 1000 >/dev/null
before=$(script_calls)
h2load_once denied "$calls" >/dev/null
for_denied=$(($(script_calls) - before))

printf '%-44s %10s\n' "" measured
printf '%-44s %10d\n' "redis-cli, calls a second" "$(of script 2)"
printf '%-44s %10d\n' "tollgate, calls a second" "$(of tollgate 2)"
printf '%-44s %10.2f\n' "tollgate over redis-cli (at least $least)" "$ratio"
printf '%-44s %10d\n' "CPU of Redis, ns a call, by redis-cli" "$(of script 3)"
printf '%-44s %10d\n' "CPU of Redis, ns a call, by tollgate" "$(of tollgate 3)"
printf '%-44s %10d\n' "CPU of tollgate, ns a call" "$(of tollgate 4)"
for store in memory shared; do
  printf '%-44s %10d\n' "half load ($half a second), $store, p50 us" "$(of "half-$store" 2)"
  printf '%-44s %10d\n' "half load ($half a second), $store, p99 us" "$(of "half-$store" 3)"
done
printf '%-44s %10s\n' "calls of the script, $calls admitted" "$for_admitted"
printf '%-44s %10s\n' "calls of the script, $calls denied" "$for_denied"

cat >"$out/store.json" <<JSON
{"ratio": $ratio,
 "script": {"calls_per_second": $(of script 2), "redis_cpu_ns": $(of script 3)},
 "tollgate": {"calls_per_second": $(of tollgate 2), "redis_cpu_ns": $(of tollgate 3), "cpu_ns": $(of tollgate 4)},
 "half_load": {"calls_per_second": $half,
  "memory": {"p50_us": $(of half-memory 2), "p99_us": $(of half-memory 3)},
  "shared": {"p50_us": $(of half-shared 2), "p99_us": $(of half-shared 3)}},
 "script_calls": {"requests": $calls, "admitted": $for_admitted, "denied": $for_denied}}
JSON

awk -v ratio="$ratio" -v least="$least" 'BEGIN { exit ratio < least }' ||
  fail "tollgate reaches less than $least of redis-cli"
[ "$for_admitted" -eq "$calls" ] || fail "an admitted request is one call of the script"
[ "$for_denied" -eq 0 ] || fail "a denied request that is repeated is no call of the script"
