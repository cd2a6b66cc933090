#!/usr/bin/env bash
# The call of the script that a request leads to, made without tollgate. To be sourced after servers.sh; the Redis is the
# one at $redis_port.

# The words of that call, with their escapes, one on each line: NAME COMMAND..., which makes one request.
call_of() {
  local log=$out/monitor-$1.log monitor tries
  shift
  taskset -c 1 redis-cli -h 127.0.0.1 -p "$redis_port" monitor >"$log" &
  monitor=$!
  started+=("$monitor")
  for ((tries = 0; tries < 100; tries++)); do
    grep -q '^OK' "$log" && break
    sleep 0.05
  done
  "$@" >/dev/null
  for ((tries = 0; tries < 100; tries++)); do
    grep -q '"FCALL"' "$log" && break
    sleep 0.05
  done
  kill "$monitor"
  sed -n 's/^[^]]*\] \("FCALL".*\)$/\1/p' "$log" | sed -n 1p | grep -oE '"([^"\\]|\\.)*"' | sed 's/^"//; s/"$//'
}

# Keeps it as bytes, a thousand times: NAME COMMAND..., as for call_of.
keep_call() {
  local words word file=$out/call-$1 times
  mapfile -t words < <(call_of "$@")
  [ "${#words[@]}" -gt 3 ] || fail "no FCALL seen: this server has no functions; see $out/monitor-$1.log"
  {
    printf '*%d\r\n' "${#words[@]}"
    for word in "${words[@]}"; do
      printf '$%d\r\n' "$(printf '%b' "$word" | wc -c)"
      printf '%b\r\n' "$word"
    done
  } >"$file"
  for times in 10 100 1000; do
    for _ in {1..10}; do cat "$file"; done >"$file.$times"
    mv "$file.$times" "$file"
  done
  echo "the call of $1: ${words[1]} of ${words[2]} keys, $((${#words[@]} - 3 - words[2])) arguments"
}

# Makes the call that is kept, one behind another on one connection: NAME CALLS, thousands. redis-benchmark would end an
# argument at a byte of zero.
make_calls() {
  local thousands
  for ((thousands = 0; thousands < $2 / 1000; thousands++)); do
    cat "$out/call-$1"
  done | taskset -c 1 redis-cli -h 127.0.0.1 -p "$redis_port" --pipe >"$out/pipe.out" 2>&1
  grep -q "^errors: 0, replies: $2\$" "$out/pipe.out" || fail "calls failed; see $out/pipe.out"
}
