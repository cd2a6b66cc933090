#!/usr/bin/env bash
# run.sh makes Cargo call this script in place of rustc (RUSTC_WRAPPER). It compiles the crates that parse the inputs
# so that libFuzzer sees which code an input reaches and which values are compared. Other crates are compiled as usual.
set -euo pipefail

watched=" tollgate tollgate-fuzz access-log unary-h2 granit-parser matchit@0.9 serde_json "
name=${CARGO_PKG_NAME:-none}
# axum has another one.
[ "$name" != matchit ] || name=matchit@${CARGO_PKG_VERSION%.*}
if [[ $watched == *" $name "* && $* != *"--crate-name build_script_"* ]]; then
  set -- "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing
fi
exec "$@"
