#!/usr/bin/env bash
# What a request of two token buckets costs that is decided by a call of its own, on the CPUs of the store and of
# tollgate:
#
#   bash benches/store/cold.sh [BASE] [REPETITIONS] [CALLS]        defaults: none, 5 and 100000
#
# BASE is another build of tollgate. One Redis, pinned to one core; its callers share the other. They take turns,
# repetition by repetition:
#
#   script      redis-cli with the call of the script that tollgate makes, as MONITOR shows it, on one connection, one
#               call behind another: tollgate, too, sends what is asked meanwhile together
#   pipeline    redis-benchmark with as many INCRBY and EXPIRE for two keys, on ten connections, four commands in
#               each pipeline, as envoyproxy/ratelimit sends them for a request of two limits
#   commands    the same commands, on four connections, 200 in each pipeline: what they cost in themselves
#   tollgate    h2load with the request that leads to the call, on four connections of 50 streams each
#   base        the same, through BASE
#   reference   the same load on envoyproxy/ratelimit, with two descriptors of one limit each, if it is there: it is
#               TOLLGATE_RATELIMIT, or what tests/setup.sh builds
#
# Prints CPU time, of all and then as medians. Fails if Redis takes more for the call of tollgate than for what the
# reference sends. Needs Linux, two cores, curl, redis-server with redis-benchmark and
# redis-cli, and h2load (Debian's redis-server, redis-tools and nghttp2-client). TOLLGATE_RELEASE names a build of
# tollgate to take in place of one of this source.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. benches/support/servers.sh
. benches/support/script_calls.sh

base=${1:-}
repetitions=${2:-5}
calls=${3:-100000}
((calls % 1000 == 0)) || fail "CALLS are thousands"

need redis-server redis-benchmark redis-cli h2load curl
built=${TOLLGATE_RELEASE:-}
if [ -z "$built" ]; then
  cargo build --release --locked --bin tollgate
  built=$target/release/tollgate
fi
mkdir -p "$out/cold"
lines=$out/cold.lines
: >"$lines"
printf 'domain: d\ntables: [{ name: t, key: [k], rows: { all: [%s] } }]\n' \
  '{ size: 4000000, per_second: 10 }, { size: 4000000, per_minute: 1200 }' >"$out/cold/policy.yaml"
# The domain `d`, and a descriptor with the entry `k=v`, behind the five bytes of a frame.
printf '\0\0\0\0\015\012\001d\022\010\012\006\012\001k\022\001v' >"$out/cold.grpc"

# The same with a second descriptor, of the entry `k=w`.
printf '\0\0\0\0\027\012\001d\022\010\012\006\012\001k\022\001v\022\010\012\006\012\001k\022\001w' >"$out/cold-reference.grpc"

redis_port=$(free_port)
start redis 0 "$redis_port" redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no
redis_pid=$pid

declare -A ports pids
builds=(tollgate)
[ -z "$base" ] || builds+=(base)
for build in "${builds[@]}"; do
  ports[$build]=$(free_port)
  http=$(free_port)
  program=$built
  [ "$build" = tollgate ] || program=$base
  start "cold-$build" 1 "${ports[$build]}" \
    "$program" serve --config "$out/cold" --workers 1 --log-level warn --drain-delay 0s --store-prepaid off --store-timeout 5s \
    --store "redis://127.0.0.1:$redis_port" --grpc "127.0.0.1:${ports[$build]}" --http "127.0.0.1:$http"
  pids[$build]=$pid
  curl -sf --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$http/readyz" >/dev/null ||
    fail "tollgate is not ready; see $out/cold-$build.log"
done

reference=${TOLLGATE_RATELIMIT:-${TOLLGATE_TOOLS:-$target/tools}/bin/ratelimit}
[ -x "$reference" ] || reference=
if [ -n "$reference" ]; then
  mkdir -p "$out/cold-reference/ratelimit/config"
  printf 'domain: d\ndescriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 1000000000 } }]\n' \
    >"$out/cold-reference/ratelimit/config/d.yaml"
  ports[reference]=$(free_port)
  start cold-reference 1 "${ports[reference]}" env RUNTIME_ROOT="$out/cold-reference" RUNTIME_SUBDIRECTORY=ratelimit \
    RUNTIME_WATCH_ROOT=false USE_STATSD=false DISABLE_STATS=true LOG_LEVEL=error HOST=127.0.0.1 GRPC_HOST=127.0.0.1 \
    DEBUG_HOST=127.0.0.1 GRPC_PORT="${ports[reference]}" PORT="$(free_port)" DEBUG_PORT="$(free_port)" \
    REDIS_SOCKET_TYPE=tcp REDIS_URL="127.0.0.1:$redis_port" "$reference"
  pids[reference]=$pid
fi

# Asks a build of tollgate, or the reference: NAME CALLS CONNECTIONS STREAMS.
ask() {
  local body=$out/cold.grpc
  [ "$1" != reference ] || body=$out/cold-reference.grpc
  taskset -c 1 h2load -n "$2" -c "$3" -m "$4" -d "$body" -H 'content-type: application/grpc' \
    -H 'te: trailers' "http://127.0.0.1:${ports[$1]}$path" >"$out/h2load.out"
  grep -q " $2 succeeded" "$out/h2load.out" || fail "calls failed; see $out/h2load.out"
}

benchmark() { taskset -c 1 redis-benchmark -h 127.0.0.1 -p "$redis_port" -q "$@" >"$out/benchmark.out"; }

commands() {
  benchmark -n "$((2 * calls))" -c "$1" -P "$2" INCRBY counter 1
  benchmark -n "$((2 * calls))" -c "$1" -P "$2" EXPIRE counter 60
}

# One line: WHO, nanoseconds of the store and of tollgate for each request. WHO COMMAND...
measure() {
  local who=$1 store own=0
  shift
  [ "$1" != ask ] || own=$(cpu "${pids[$who]}")
  store=$(cpu "$redis_pid")
  "$@"
  store=$(($(cpu "$redis_pid") - store))
  [ "$1" != ask ] || own=$(($(cpu "${pids[$who]}") - own))
  printf '%s %s %s\n' "$who" "$((store / calls))" "$((own / calls))" | tee -a "$lines"
}

for build in "${builds[@]}"; do
  ask "$build" 100 1 1
  keep_call "$build" ask "$build" 1 1 1
  ask "$build" 10000 4 50
done
[ -z "$reference" ] || ask reference 10000 4 50
for ((repetition = 0; repetition < repetitions; repetition++)); do
  for build in "${builds[@]}"; do
    measure "script-$build" make_calls "$build" "$calls"
  done
  measure pipeline commands 10 4
  measure commands commands 4 200
  for build in "${builds[@]}"; do
    measure "$build" ask "$build" "$calls" 4 50
  done
  [ -z "$reference" ] || measure reference ask reference "$calls" 4 50
done

median() { sort -n | awk '{ list[NR] = $1 } END { print list[int((NR + 1) / 2)] }'; }
of() { awk -v who="$1" -v column="$2" '$1 == who { print $column }' "$lines" | median; }
over() { awk -v one="$1" -v other="$2" 'BEGIN { printf "%.2f", one / other }'; }

row() { printf '%-60s %10s\n' "$@"; }
row "" "ns a request"
for build in "${builds[@]}"; do
  row "CPU of Redis, the call of $build by redis-cli" "$(of "script-$build" 2)"
done
row "CPU of Redis, INCRBY and EXPIRE in pipelines of four" "$(of pipeline 2)"
row "CPU of Redis, INCRBY and EXPIRE in long pipelines" "$(of commands 2)"
for build in "${builds[@]}"; do
  row "CPU of Redis, through $build" "$(of "$build" 2)"
  row "CPU of $build" "$(of "$build" 3)"
done
[ -z "$reference" ] || {
  row "CPU of Redis, through the reference" "$(of reference 2)"
  row "CPU of the reference" "$(of reference 3)"
  row "CPU of Redis through tollgate over that through the reference" "$(over "$(of tollgate 2)" "$(of reference 2)")"
}
row "the call over pipelines of four" "$(over "$(of script-tollgate 2)" "$(of pipeline 2)")"
[ -z "$base" ] || {
  row "the call over that of base" "$(over "$(of script-tollgate 2)" "$(of script-base 2)")"
  row "CPU of tollgate over that of base" "$(over "$(of tollgate 3)" "$(of base 3)")"
}
[ -z "$reference" ] || [ "$(of tollgate 2)" -le "$(of reference 2)" ] ||
  fail "Redis takes more for the call of tollgate than for what the reference sends"
