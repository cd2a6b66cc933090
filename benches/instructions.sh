#!/usr/bin/env bash
# Counts the instructions of a call, and compares them with benches/instructions.txt:
#
#   bash benches/instructions.sh            compares; fails if a case takes over 3 % more
#   bash benches/instructions.sh --renew    writes the file anew, after an intended change
#
# Unlike a time, a count is the same on a busy machine as on an idle one, so that CI can check a change
# by it. benches/instructions/calls.rs makes N calls and then 2 N under valgrind's callgrind; the difference
# over N is a call's share, without start-up. Twice the same build agrees to 0.1 %.
#
# The build is the release profile, which users get. Differences between machines are excluded: valgrind has a
# CPU of its own, without AVX-512; glibc is set to copy and compare with SSE2, which every x86-64 has; and names
# are hashed with a fixed key. Another compiler or C library may change the counts; the file names its compiler.
#
# A denial costs about as much as an admission: `spent` may take 1.06 of `open`, a call of the same policy that is
# admitted. It counts two buckets for the list of those that denied most, and writes the body of a denial.
#
# `prepaid`, the same call by a prepaid admission of a shared store, may take 1.10 of `open`. The Redis is real; what was asked
# for before is not counted, since both runs ask the same.
#
# `quota` counts the work for one bucket id of a report to the quota service: its answer, and the messages to the nine other
# streams that share its bucket.
#
# Needs Linux on x86-64, and valgrind and redis-server, which tests/setup.sh installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

kept=benches/instructions.txt
tolerance=3
cases=(decision tree admitted denied open spent prepaid call call_denied quota)
calls=10000
mkdir -p "$out"

case ${1:-} in
  "" | --renew) ;;
  *) fail "takes nothing, or --renew" ;;
esac
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "instructions: not compared: the counts in $kept are those of Linux on x86-64"
  exit 0
fi
for tool in valgrind redis-server; do
  command -v "$tool" >/dev/null || fail "needs $tool; bash tests/setup.sh installs it"
done

cargo build --release --locked --features bench-drivers --example instructions

redis_port=$(free_port)
start redis 0 "$redis_port" redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no

# The copies and comparisons of glibc that every x86-64 can run.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM,-SSE4_2,-SSE4_1,-SSSE3

# counted CASE COUNT: the instructions of the whole process.
counted() {
  local file=$out/callgrind.$1.$2
  valgrind --tool=callgrind --callgrind-out-file="$file" \
    "$target/release/examples/instructions" "$1" "$2" "redis://127.0.0.1:$redis_port" >"$out/callgrind.log" 2>&1 ||
    { cat "$out/callgrind.log" >&2 && return 1; }
  awk '$1 == "totals:" { print $2 }' "$file"
}

{
  echo "# Instructions of one call. Written by: bash benches/instructions.sh --renew"
  echo "# $(rustc --version)"
  for case in "${cases[@]}"; do
    once=$(counted "$case" "$calls")
    twice=$(counted "$case" $((2 * calls)))
    printf '%s %d\n' "$case" $(((twice - once) / calls))
  done
} >"$out/instructions.txt"

awk '
  { count[$1] = $2 }
  END {
    printf "a denied call over an admitted one: %.3f\n", count["spent"] / count["open"]
    printf "a prepaid admission over one in memory: %.3f\n", count["prepaid"] / count["open"]
    if (count["spent"] > 1.06 * count["open"]) exit 1
    if (count["prepaid"] > 1.10 * count["open"]) exit 2
  }
' "$out/instructions.txt" || case $? in
  1) fail "a denial takes more than 1.06 of the instructions of an admission" ;;
  *) fail "a prepaid admission takes more than 1.10 of the instructions of one in memory" ;;
esac

if [ "${1:-}" = --renew ]; then
  cp "$out/instructions.txt" "$kept"
  cat "$kept"
  exit 0
fi

awk -v tolerance="$tolerance" '
  NR == FNR { if ($1 != "#") kept[$1] = $2; next }
  $1 == "#" { next }
  FNR != NR && !told++ { printf "%-10s %8s %8s %8s\n", "case", "kept", "now", "change" }
  !($1 in kept) { printf "%-10s %8s %8d\n", $1, "none", $2; missing = 1; next }
  {
    change = 100 * ($2 / kept[$1] - 1)
    printf "%-10s %8d %8d %+7.1f%%\n", $1, kept[$1], $2, change
    if (change > tolerance) worse = 1
    if (change < -tolerance) better = 1
  }
  END {
    if (better) print "Fewer than before: keep it, with bash benches/instructions.sh --renew"
    exit worse || missing
  }
' "$kept" "$out/instructions.txt" || {
  if ! grep -qxF "# $(rustc --version)" "$kept"; then
    echo "The kept counts are of another compiler: $(sed -n 's/^# rustc/rustc/p' "$kept")" >&2
  fi
  echo "Where they are in $out: callgrind_annotate $out/callgrind.CASE.$((2 * calls))" >&2
  fail "more than $tolerance % over $kept; if that is meant: bash benches/instructions.sh --renew"
}
