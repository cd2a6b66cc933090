#!/usr/bin/env bash
# What Envoys do with the shares that they are assigned (RLQS), with real Envoys behind the sample envoy/quota.yaml:
#
#   bash benches/quota.sh
#
# Takes five minutes. Envoy is TOLLGATE_ENVOY, or the one that tests/setup.sh puts into target/tools. Requests come over
# HTTP/1.1, each when its time has come; benches/quota/policy.yaml has their limits, mostly 50 a second and at once.
#
#   demands     eight cases, on the same two Envoys at the same time, each with a tenant of its own: steady, skewed and
#               changing demand, a second Envoy that joins, two limits of a tenant, two groups of one, SIGKILL of an Envoy
#   away        the server ends, and starts again after six seconds with a snapshot; beside it two tollgates over one Redis
#   fleet       ten streams of 1,000 tenants, which report as ten Envoys do. Ten real Envoys would take more of this machine
#               than the server, which has one core
#   many ids    20,000 tenants at one Envoy, each with one request, as where an id has too many values
#
# Fails if a target is missed. Needs Linux, two cores, Envoy and redis-server. TOLLGATE_BIN names another tollgate, such as
# one that is built already. Logs are in target/bench/quota.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/support/servers.sh

need redis-server taskset
envoy=${TOLLGATE_ENVOY:-$target/tools/venv/bin/envoy}
[ -x "$envoy" ] || fail "no Envoy at $envoy: bash tests/setup.sh fetches it, or name one in TOLLGATE_ENVOY"
cargo build --release --locked --features bench-drivers --bin tollgate --example quota_cases
tollgate=${TOLLGATE_BIN:-$target/release/tollgate}
out=$out/quota
rm -rf "$out"
mkdir -p "$out"
for twin in "${!TOLLGATE_@}"; do unset "$twin"; done
"$target/release/examples/quota_cases" "$tollgate" "$envoy" "$(command -v redis-server)" "$out"
