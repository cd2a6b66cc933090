#!/usr/bin/env bash
# Measures the hot path, each figure with its limit:
#
#   bash benches/targets.sh        about six minutes; fails if a limit is exceeded
#
# benches/targets/times.rs: the time of a decision, hot and in large stores, under a large policy, and when it
# is denied; how long a thread waits while another sweeps, grows, evicts, reloads or writes a snapshot; how
# long an honest caller waits beside callers that do harm.
# benches/targets/memory.rs: the bytes of a key, with a counting allocator, which would slow down the others.
#
# Times are those of this machine. Run nothing else meanwhile: while other work occupies both cores, only the
# ratios are valid.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --features bench-drivers --example times --example memory
status=0
"$target/release/examples/memory" || status=1
"$target/release/examples/times" "$@" || status=1
exit "$status"
