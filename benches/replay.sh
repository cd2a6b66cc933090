#!/usr/bin/env bash
# What a replay of logs takes, through the shipped policy:
#
#   bash benches/replay.sh [LINES] [REPETITIONS]        defaults: 2000000 and 5
#
#   text     Envoy's default format, 1,000 tenants: lines a second and core, the lines divided by the CPU time of the process
#   json     the same with 22 fields and 700 bytes a line
#   memory   a policy of one bucket, with ten million keys: the most memory that the process takes; and twice as many lines
#            of as many keys, which take no more
#   cores    two files on all cores and on one: the same report, to the last digit
#
# Beside them, in turn: `wc -l` of the same files, and a loop that parses the JSON and keeps nothing of it. Prints a table, and
# writes target/bench/replay.json. Fails if a target is missed. Needs Linux and two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

lines=${1:-2000000}
repetitions=${2:-5}
need cmp
tollgate=${TOLLGATE_RELEASE:-}
cargo build --release --locked --features bench-drivers --bin tollgate --example replay_log
tollgate=${tollgate:-$target/release/tollgate}
log=$target/release/examples/replay_log
folder=$out/replay
mkdir -p "$folder"
told=$folder/lines
: >"$told"

"$log" envoy "$lines" 1000 >"$folder/envoy.log"
"$log" json "$lines" 1000 >"$folder/json.log"
cat >"$folder/envoy.yaml" <<'YAML'
descriptor: { tenant_type: free, tenant: $authority, method: $method, path: $path, remote_address: $x_forwarded_for }
YAML
cat >"$folder/json.yaml" <<'YAML'
descriptor: { tenant_type: free, tenant: $x_tenant, method: $method, path: $path, remote_address: $x_forwarded_for }
YAML
printf 'domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_hour: 100 }] } }]\n' >"$folder/keys-policy.yaml"
printf 'descriptor: { k: $k }\n' >"$folder/keys.yaml"

# One line: NAME, seconds of CPU time and of time. NAME COMMAND...
measure() {
  local name=$1
  shift
  TIMEFORMAT="$name %U %S %R"
  { time "$@" >"$folder/$name.out" 2>"$folder/$name.err"; } 2>>"$told"
}

replay() {
  measure "$1" "$tollgate" replay --config config/management-api.yaml --map "$folder/$1.yaml" --jobs 1 "$folder/$1.log"
}

for ((repetition = 0; repetition < repetitions; repetition++)); do
  replay envoy
  measure wc-envoy wc -l "$folder/envoy.log"
  replay json
  measure wc-json wc -l "$folder/json.log"
  measure parse "$log" parse <"$folder/json.log"
done

median() { sort -n | awk '{ list[NR] = $1 } END { print list[int((NR + 1) / 2)] }'; }
# Lines a second of CPU time, and of time.
rate() { awk -v name="$1" -v lines="$lines" '$1 == name { cpu = $2 + $3; print int(lines / (cpu > 0.001 ? cpu : 0.001)) }' "$told" | median; }
speed() { awk -v name="$1" -v lines="$lines" '$1 == name { print int(lines / $4) }' "$told" | median; }

# The most memory that a process took, in MiB: COMMAND...
memory() {
  local pid most=0 now
  "$@" >"$folder/memory.out" 2>"$folder/memory.err" &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
    [ -z "$now" ] || most=$now
    sleep 0.05
  done
  wait "$pid" || fail "the replay failed; see $folder/memory.err"
  echo $((most / 1024))
}

keys=10000000
"$log" keys "$keys" "$keys" >"$folder/keys.log"
of_keys=$(memory "$tollgate" replay --config "$folder/keys-policy.yaml" --map "$folder/keys.yaml" --max-keys "$keys" "$folder/keys.log")
"$log" keys "$keys" 100000 >"$folder/few.log"
"$log" keys $((keys / 4)) 100000 >"$folder/fewer.log"
of_few=$(memory "$tollgate" replay --config "$folder/keys-policy.yaml" --map "$folder/keys.yaml" "$folder/few.log")
of_fewer=$(memory "$tollgate" replay --config "$folder/keys-policy.yaml" --map "$folder/keys.yaml" "$folder/fewer.log")
rm -f "$folder/keys.log" "$folder/few.log" "$folder/fewer.log"

awk -v one="$folder/one.log" -v two="$folder/two.log" '{ print > (NR % 2 ? one : two) }' "$folder/json.log"
both=("$tollgate" replay --config config/management-api.yaml --map "$folder/json.yaml" --json)
measure cores "${both[@]}" "$folder/one.log" "$folder/two.log"
measure core "${both[@]}" --jobs 1 "$folder/one.log" "$folder/two.log"
measure whole "${both[@]}" --jobs 1 "$folder/json.log"
cmp "$folder/cores.out" "$folder/core.out" || fail "the number of threads changes the report"
# The names of the logs differ.
cmp <(grep -v 'log"' "$folder/core.out") <(grep -v 'log"' "$folder/whole.out") || fail "two files are told otherwise than one"

row() { printf '%-56s %12s %14s\n' "$@"; }
row "" measured target
row "text, lines a second and core" "$(rate envoy)" ">= 1000000"
row "  lines a second, one thread that decides" "$(speed envoy)" ""
row "  wc -l, lines a second and core" "$(rate wc-envoy)" ""
row "JSON, lines a second and core" "$(rate json)" ">= 600000"
row "  lines a second, one thread that decides" "$(speed json)" ""
row "  wc -l, lines a second and core" "$(rate wc-json)" ""
row "  a loop that parses it, lines a second and core" "$(rate parse)" ""
row "JSON in two files on all cores, lines a second" "$(speed cores)" ""
row "ten million keys, MiB" "$of_keys" "<= 1024"
row "100,000 keys, 10,000,000 lines, MiB" "$of_few" ""
row "100,000 keys, 2,500,000 lines, MiB" "$of_fewer" ""

cat >"$out/replay.json" <<JSON
{"text_lines_per_second_and_core": $(rate envoy), "json_lines_per_second_and_core": $(rate json),
 "json_parse_only": $(rate parse), "ten_million_keys_mib": $of_keys, "few_keys_mib": [$of_fewer, $of_few]}
JSON

[ "$(rate envoy)" -ge 1000000 ] || fail "text is read too slowly"
[ "$(rate json)" -ge 600000 ] || fail "JSON is read too slowly"
[ "$of_keys" -le 1024 ] || fail "ten million keys take too much memory"
[ "$of_few" -le $((of_fewer + 64)) ] || fail "a longer log takes more memory"
