#!/usr/bin/env bash
# Fuzzes the parsers, each target for the given number of seconds and all at the same time:
#
#   bash fuzz/run.sh SECONDS            every target of fuzz/fuzz_targets
#   bash fuzz/run.sh SECONDS TARGET...  only these
#
# It begins with the corpus, fuzz/corpus/TARGET, and with the inputs that earlier runs have found, in
# TARGET_DIR/fuzz/TARGET. A find is printed, as text and in base64, and kept in fuzz/artifacts/TARGET;
# docs/fuzzing.md says what to do with it.
#
# It builds with stable Rust, without cargo-fuzz and without a sanitizer.
#
# Environment:
#   FUZZ_SEED         the seed of libFuzzer; default: a new one for each run
#   CARGO_TARGET_DIR  as for Cargo; default: target
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

seconds=${1:-}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage
shift
if [ $# -eq 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do
    set -- "$@" "$(basename "$file" .rs)"
  done
fi
for name in "$@"; do
  [ -f "fuzz/fuzz_targets/$name.rs" ] || usage
done

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

# What an input may take. Beyond its length, time and memory must not depend on what it says: a policy of
# 4 KB is compiled in milliseconds. The time is the wall's, on a machine that does much else.
limits=(-timeout=25 -rss_limit_mb=1024 -len_control=0 -report_slow_units=25)
max_len() {
  case $1 in
    policy | mapping | json | snapshot) echo 4096 ;;
    *) echo 2048 ;;
  esac
}

RUSTC_WRAPPER=$PWD/fuzz/instrument.sh CARGO_TARGET_DIR=$target \
  cargo build --locked --manifest-path fuzz/Cargo.toml "${@/#/--bin=}"

# begin TARGET: fuzzes it, and says how that went in its log. Its process is $!.
begin() {
  local name=$1 work=$target/fuzz/$1 artifacts=fuzz/artifacts/$1
  local -a arguments=("${limits[@]}" "-max_len=$(max_len "$name")" "-max_total_time=$seconds")
  mkdir -p "$work" "$artifacts"
  if [ -f "fuzz/dict/$name.dict" ]; then
    arguments+=("-dict=fuzz/dict/$name.dict")
  fi
  if [ -n "${FUZZ_SEED:-}" ]; then
    arguments+=("-seed=$FUZZ_SEED")
  fi
  # New inputs go into the first folder.
  local -a corpora=("$work" "fuzz/corpus/$name")
  if [ "$name" = policy ]; then
    corpora+=(tests/config config)
  elif [ "$name" = mapping ]; then
    corpora+=(tests/mapping/bad config/replay)
  fi
  "$target/debug/$name" "${arguments[@]}" "-artifact_prefix=$artifacts/" -print_final_stats=1 \
    "${corpora[@]}" >"$target/fuzz/$name.log" 2>&1 &
}

declare -A processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true' EXIT
for name in "$@"; do
  begin "$name"
  processes[$name]=$!
done

# figures TARGET: what its log says it did.
figures() {
  awk -v name="$1" '
    / cov: / { for (at = 1; at < NF; at++) if ($at == "cov:") edges = $(at + 1) }
    / cov: / { for (at = 1; at < NF; at++) if ($at == "corp:") corpus = $(at + 1) }
    $1 == "stat::number_of_executed_units:" { executed = $2 }
    $1 == "stat::average_exec_per_sec:" { rate = $2 }
    $1 == "stat::peak_rss_mb:" { memory = $2 }
    END {
      printf "%-12s %12s inputs %8s a second %6s edges   corpus %-12s %5s MB\n",
        name, executed, rate, edges, corpus, memory
    }
  ' "$target/fuzz/$1.log"
}

failed=()
for name in "$@"; do
  if wait "${processes[$name]}"; then
    figures "$name"
  else
    failed+=("$name")
  fi
  unset "processes[$name]"
done

for name in ${failed[@]+"${failed[@]}"}; do
  printf '\n=== %s found something; the end of %s:\n' "$name" "$target/fuzz/$name.log" >&2
  # Without the thousands of lines before it that only tell how it got there.
  grep -vE '^#[0-9]+' "$target/fuzz/$name.log" | tail -n 60 >&2
  # The newest is this run's. What was only slow, libFuzzer keeps as well.
  found=$(find "fuzz/artifacts/$name" -type f ! -name 'slow-unit-*' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
  if [ -n "$found" ]; then
    printf '\nThe input is kept in %s:\n' "$found" >&2
    od -A d -c "$found" | head -n 40 >&2
    printf 'To have it elsewhere: base64 -d > input <<end\n%s\nend\n' "$(base64 "$found")" >&2
  fi
done
[ ${#failed[@]} -eq 0 ] || exit 1
