#!/usr/bin/env bash
# Compares the cost of a call with that of envoyproxy/ratelimit, which tollgate stands in for:
#
#   bash benches/reference.sh [REPETITIONS] [CALLS]        defaults: 5 and 100000
#
# Three services with one configuration, a tree of five levels with a limit an hour: the reference, tollgate that counts
# in Redis, and tollgate that counts in memory. The two Redis servers and the services are pinned to one core, the load
# to the other. The services take turns, repetition by repetition, so that other work of the machine affects all:
#
#   full    benches/serve/load.rs, 50 calls at a time on each of four connections: calls a second, and the CPU time (user
#           and system) of the service and of its Redis for each call
#   paced   the same at 2,000 calls a second, for three seconds: the latency
#
# The load has 10,000 tenants in turn. The reference is `TOLLGATE_RATELIMIT`, or what tests/setup.sh builds. Fails if
# tollgate takes more CPU time than the reference, be it in memory or over Redis. Needs Linux, two cores and redis-server.
# Prints a table, and writes target/bench/reference.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

repetitions=${1:-5}
calls=${2:-100000}
pace=2000
reference=${TOLLGATE_RATELIMIT:-${TOLLGATE_TOOLS:-$target/tools}/bin/ratelimit}
need redis-server
[ -x "$reference" ] || fail "needs the reference: bash tests/setup.sh, or name one in TOLLGATE_RATELIMIT"
cargo build --release --locked --features bench-drivers --bin tollgate --example load
load=$target/release/examples/load

config=$out/reference/ratelimit/config
mkdir -p "$config"
cat >"$config/management-api.yaml" <<YAML
domain: management-api
descriptors:
  - key: tenant_type
    descriptors:
      - key: tenant
        descriptors:
          - key: method
            descriptors:
              - key: path
                value: /api/*
                descriptors:
                  - key: remote_address
                    rate_limit: { unit: hour, requests_per_unit: 1000000 }
YAML
: >"$out/reference.lines"

declare -A ports pids
for name in reference redis; do
  ports[redis-$name]=$(free_port)
  start "redis-$name" 0 "${ports[redis-$name]}" \
    redis-server --bind 127.0.0.1 --port "${ports[redis-$name]}" --save '' --appendonly no
  pids[redis-$name]=$pid
done

# One of the three, as a deployment of the reference starts it: NAME COMMAND...
serve() {
  local name=$1
  shift
  ports[$name]=$(free_port)
  start "$name" 0 "${ports[$name]}" env RUNTIME_ROOT="$out/reference" RUNTIME_SUBDIRECTORY=ratelimit \
    RUNTIME_WATCH_ROOT=false USE_STATSD=false DISABLE_STATS=true LOG_LEVEL=error HOST=127.0.0.1 GRPC_HOST=127.0.0.1 \
    DEBUG_HOST=127.0.0.1 GRPC_PORT="${ports[$name]}" PORT="$(free_port)" DEBUG_PORT="$(free_port)" \
    REDIS_SOCKET_TYPE=tcp "$@"
  pids[$name]=$pid
}

serve reference REDIS_URL="127.0.0.1:${ports[redis-reference]}" "$reference"
serve redis REDIS_URL="127.0.0.1:${ports[redis-redis]}" "$target/release/tollgate" ratelimit
serve memory TOLLGATE_STORE=memory "$target/release/tollgate" ratelimit

field() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$out/reference.told"; }

# One line: NAME full RATE NS-OF-THE-SERVICE NS-OF-REDIS
full() {
  local name=$1 redis=${pids[redis-$1]:-} own store=0
  own=$(cpu "${pids[$name]}")
  [ -z "$redis" ] || store=$(cpu "$redis")
  taskset -c 1 "$load" "127.0.0.1:${ports[$name]}" 4 50 "$calls" admitted >"$out/reference.told"
  own=$((($(cpu "${pids[$name]}") - own) / calls))
  [ -z "$redis" ] || store=$((($(cpu "$redis") - store) / calls))
  [ "$(field denied)" -eq 0 ] || fail "$name denied calls"
  printf '%s full %s %s %s\n' "$name" "$(field calls_per_second)" "$own" "$store" >>"$out/reference.lines"
}

# One line: NAME paced P50 P99, in microseconds.
paced() {
  taskset -c 1 "$load" "127.0.0.1:${ports[$1]}" 4 50 "$((3 * pace))" admitted "$pace" >"$out/reference.told"
  printf '%s paced %s %s\n' "$1" "$(field p50_us)" "$(field p99_us)" >>"$out/reference.lines"
}

median() { sort -n | awk '{ list[NR] = $1 } END { print list[int((NR + 1) / 2)] }'; }
of() { awk -v name="$1" -v case="$2" -v column="$3" '$1 == name && $2 == case { print $column }' "$out/reference.lines" | median; }

# The first turns warm up, and see to it that each tenant has a counter.
for name in reference redis memory; do
  full "$name"
done
: >"$out/reference.lines"
for ((repetition = 0; repetition < repetitions; repetition++)); do
  for name in reference redis memory; do
    full "$name"
    paced "$name"
  done
done

printf '%-34s %12s %12s %12s\n' "" reference "over Redis" "in memory"
row() {
  printf '%-34s %12s %12s %12s\n' "$1" "$(of reference "$2" "$3")" "$(of redis "$2" "$3")" "$(of memory "$2" "$3")"
}
row "calls a second" full 3
row "CPU of the service, ns a call" full 4
row "CPU of its Redis, ns a call" full 5
row "$pace calls a second, p50 us" paced 3
row "$pace calls a second, p99 us" paced 4

{
  printf '{'
  for name in reference redis memory; do
    [ "$name" = reference ] || printf ', '
    printf '"%s": {"calls_per_second": %s, "cpu_ns": %s, "redis_cpu_ns": %s, "p50_us": %s, "p99_us": %s}' "$name" \
      "$(of "$name" full 3)" "$(of "$name" full 4)" "$(of "$name" full 5)" "$(of "$name" paced 3)" "$(of "$name" paced 4)"
  done
  printf '}\n'
} >"$out/reference.json"

for name in redis memory; do
  [ "$(of "$name" full 4)" -le "$(of reference full 4)" ] || fail "tollgate takes more CPU time than the reference: $name"
done
