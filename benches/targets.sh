#!/usr/bin/env bash
# Whether the hot path keeps to its targets, each figure beside its limit:
#
#   bash benches/targets.sh        about six minutes; fails if one is missed
#
# benches/targets/times.rs: what a decision costs, hot and in large stores; that it costs no more under a
# large policy, nor when it is denied; for how long a thread waits while another sweeps, grows, evicts,
# reloads or writes a snapshot; for how long an honest caller waits beside others that do harm.
# benches/targets/memory.rs: the bytes of a key, under a counting allocator, which would slow the others
# down.
#
# Times are those of this machine. Leave it alone meanwhile: with both cores busy elsewhere the ratios
# still hold, the times do not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --example times --example memory
status=0
"$target/release/examples/memory" || status=1
"$target/release/examples/times" "$@" || status=1
exit "$status"
