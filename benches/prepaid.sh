#!/usr/bin/env bash
# What prepaid admissions (`serve --store-prepaid`) spare, with one Redis:
#
#   bash benches/prepaid.sh [REPETITIONS] [CALLS]        defaults: 5 and 100000
#
# The servers take turns, repetition by repetition; loads are benches/serve/load.rs. A request meets four buckets.
#
#   hot          one plan, 50 streams: calls of the script for each request, as Redis counts them, and the CPU time of
#                tollgate for each request, against a tollgate that decides in memory
#   half load    the same paced at half of what that reached: p99 against memory
#   thousand     1,000 tenants in turn at 10 calls a second each over four replicas: calls of the script for each request
#   replicas     four replicas and 100 hot tenants, against four that ask for each request and four that decide in memory:
#                requests a second, which the cores of the machine bound, since the load shares them, and the CPU time of
#                Redis for each request, which bounds a fleet
#
# Fails if a target is missed. Needs Linux, two cores, curl, redis-server and redis-cli. Prints a table, and writes
# target/bench/prepaid.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

repetitions=${1:-5}
calls=${2:-100000}
write_policies
lines=$out/prepaid.lines
: >"$lines"

need redis-server redis-cli curl
cargo build --release --locked --features bench-drivers --bin tollgate --example load
load=$target/release/examples/load

redis_port=$(free_port)
start redis 0 "$redis_port" redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no
redis_pid=$pid

declare -A ports pids
# A tollgate: NAME CORES FLAGS...
serve() {
  local name=$1 cores=$2 http
  shift 2
  ports[$name]=$(free_port)
  http=$(free_port)
  start "tollgate-$name" "$cores" "${ports[$name]}" \
    "$target/release/tollgate" serve --config "$out/policy" --workers 1 --log-level warn --drain-delay 0s \
    --grpc "127.0.0.1:${ports[$name]}" --http "127.0.0.1:$http" "$@"
  pids[$name]=$pid
  curl -sf --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$http/readyz" >/dev/null ||
    fail "tollgate is not ready; see $out/tollgate-$name.log"
}
store() { printf 'redis://127.0.0.1:%s' "$redis_port"; }

serve memory 1
serve prepaid 1 --store "$(store)"
replicas="1 2 3 4"
for number in $replicas; do
  serve "prepaid-$number" 0,1 --store "$(store)" --store-prefix replicas
  serve "memory-$number" 0,1
  serve "asking-$number" 0,1 --store "$(store)" --store-prefix asking --store-prepaid off
done

# How often the script was called.
script_calls() {
  redis-cli -h 127.0.0.1 -p "$redis_port" info commandstats | tr -d '\r' |
    awk -F '[=,]' '/^cmdstat_(fcall|evalsha):/ { sum += $2 } END { printf "%d", sum }'
}

told() { sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p" "$out/prepaid-$1.told"; }

# One line: hot NAME RATE NS-OF-TOLLGATE CALLS-OF-THE-SCRIPT
hot() {
  local name=$1 own asked
  own=$(cpu "${pids[$name]}")
  asked=$(script_calls)
  taskset -c 0 "$load" "127.0.0.1:${ports[$name]}" 1 50 "$calls" hot >"$out/prepaid-$name.told"
  [ "$(told "$name" denied)" -eq 0 ] || fail "a hot plan was denied"
  echo "hot $name $(told "$name" calls_per_second) $((($(cpu "${pids[$name]}") - own) / calls)) $(($(script_calls) - asked))" >>"$lines"
}

# Four loads at a time, one for each replica: NAME CALLS KIND [RATE]. Prints the requests a second of all, and the CPU time
# of Redis for each, in nanoseconds.
four() {
  local name=$1 begun store number loading=()
  shift
  store=$(cpu "$redis_pid")
  begun=$(date +%s%N)
  for number in $replicas; do
    taskset -c 0,1 "$load" "127.0.0.1:${ports[$name-$number]}" 1 50 "$@" >"$out/prepaid-$name-$number.told" &
    loading+=("$!")
  done
  wait "${loading[@]}"
  echo "$((4 * $1 * 1000000 / (($(date +%s%N) - begun) / 1000))) $((($(cpu "$redis_pid") - store) / (4 * $1)))"
}

median() { sort -g | awk '{ list[NR] = $1 } END { print list[int((NR + 1) / 2)] }'; }
of() { awk -v what="$1" -v name="$2" -v column="$3" '$1 == what && $2 == name { print $column }' "$lines" | median; }

hot memory
hot prepaid
four prepaid 2000 hundred >/dev/null
four asking 2000 hundred >/dev/null
four memory 2000 hundred >/dev/null
: >"$lines"
for ((repetition = 0; repetition < repetitions; repetition++)); do
  hot memory
  hot prepaid
done
half=$(($(of hot prepaid 3) / 2))
for ((repetition = 0; repetition < repetitions; repetition++)); do
  for name in memory prepaid; do
    taskset -c 0 "$load" "127.0.0.1:${ports[$name]}" 1 50 "$half" hot "$half" >"$out/prepaid-$name.told"
    echo "half $name $(told "$name" p50_us) $(told "$name" p99_us)" >>"$lines"
  done
done
for ((repetition = 0; repetition < repetitions; repetition++)); do
  echo "four prepaid $(four prepaid $((2 * calls)) hundred)" >>"$lines"
  echo "four memory $(four memory $((2 * calls)) hundred)" >>"$lines"
  echo "four asking $(four asking $((calls / 20)) hundred)" >>"$lines"
done
asked=$(script_calls)
four prepaid 12500 thousand 2500 >/dev/null
thousand=$(($(script_calls) - asked))

per_hot=$(of hot prepaid 5 | awk -v calls="$calls" '{ printf "%.4f", $1 / calls }')
per_thousand=$(awk -v asked="$thousand" 'BEGIN { printf "%.3f", asked / 50000 }')
cpu_ratio=$(awk '$1 == "hot" && $2 == "memory" { base = $4 } $1 == "hot" && $2 == "prepaid" { print $4 / base }' "$lines" | median)
rate_ratio=$(awk '$1 == "four" && $2 == "prepaid" { rate = $3 } $1 == "four" && $2 == "asking" { print rate / $3 }' "$lines" | median)
memory_ratio=$(awk '$1 == "four" && $2 == "prepaid" { rate = $3 } $1 == "four" && $2 == "memory" { print rate / $3 }' "$lines" | median)
redis_ratio=$(awk '$1 == "four" && $2 == "prepaid" { own = $4 < 1 ? 1 : $4 } $1 == "four" && $2 == "asking" { print $4 / own }' "$lines" | median)
p99=$(awk '$1 == "half" && $2 == "memory" { base = $4 } $1 == "half" && $2 == "prepaid" { print ($4 - base) / 1000 }' "$lines" | median)

row() { printf '%-58s %10s %12s\n' "$@"; }
row "" measured target
row "one hot plan: calls of the script for each request" "$per_hot" "<= 0.02"
row "1,000 tenants in turn: calls of the script for each request" "$per_thousand" "<= 1.05"
row "one hot plan: CPU of tollgate over that in memory" "$cpu_ratio" "<= 1.25"
row "  in memory, ns a request" "$(of hot memory 4)" ""
row "  prepaid, ns a request" "$(of hot prepaid 4)" ""
row "four replicas: CPU of Redis that those take that ask, over it" "$redis_ratio" ">= 10"
row "  prepaid, ns of Redis a request" "$(of four prepaid 4)" ""
row "  asking for each, ns of Redis a request" "$(of four asking 4)" ""
row "four replicas: requests a second over those in memory" "$memory_ratio" ">= 0.5"
row "  over those that ask" "$rate_ratio" ""
row "  prepaid, requests a second" "$(of four prepaid 3)" ""
row "  in memory, requests a second" "$(of four memory 3)" ""
row "  asking for each, requests a second" "$(of four asking 3)" ""
row "half load ($half a second): p99 over that in memory, ms" "$p99" "<= 0.2"

cat >"$out/prepaid.json" <<JSON
{"calls_per_request": {"hot": $per_hot, "thousand_tenants": $per_thousand},
 "cpu_ns": {"memory": $(of hot memory 4), "prepaid": $(of hot prepaid 4), "ratio": $cpu_ratio},
 "four_replicas": {"prepaid": $(of four prepaid 3), "memory": $(of four memory 3), "asking": $(of four asking 3),
  "redis_cpu_ns": {"prepaid": $(of four prepaid 4), "asking": $(of four asking 4)}},
 "half_load": {"calls_per_second": $half, "added_p99_ms": $p99}}
JSON

missed() { awk -v told="$1" -v bound="$2" "BEGIN { exit !(told $3 bound) }"; }
! missed "$per_hot" 0.02 '>' || fail "a hot plan asks too often"
! missed "$per_thousand" 1.05 '>' || fail "plans without demand ask too often"
! missed "$cpu_ratio" 1.25 '>' || fail "a prepaid admission takes too much CPU"
! missed "$redis_ratio" 10 '<' || fail "four replicas take too much of Redis"
! missed "$memory_ratio" 0.5 '<' || fail "four replicas are too slow"
! missed "$p99" 0.2 '>' || fail "the latency of prepaid admissions is too long"
