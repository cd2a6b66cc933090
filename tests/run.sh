#!/usr/bin/env bash
# Runs everything that must pass, from anywhere, on a machine with only Rust and Debian:
#
#   bash tests/run.sh              all stages, in the order below, up to the first failure
#   bash tests/run.sh STAGE...     only these:
#
#   setup         the tools that the stages below lint use, which run it first (tests/setup.sh)
#   lint          shell syntax, cargo fmt, clippy and docs, every warning an error; of fuzz/ too
#   test          cargo test: the Rust suites, the ones under the real Envoy among them
#   fuzz          what parses, each target for a minute and all at the same time (fuzz/run.sh)
#   instructions  a call takes no more instructions than it did (benches/instructions.sh)
#   grpcurl       a plain grpcurl against the server, through reflection (tests/grpcurl.sh)
#   wire          an independent encoder against the server (tests/wire, pytest)
#   openapi       every operation of the HTTP side against /openapi.json (tests/openapi, schemathesis)
#   deploy        what reads Dockerfiles, manifests and units, on those of deploy/
#   page          the page for a person, in a real browser (tests/page, pytest)
#
# Environment:
#   TOLLGATE_TOOLS     where setup puts its tools; default target/tools
#   TOLLGATE_BIN       a tollgate binary for grpcurl, wire, openapi and page to use; default: the one
#                      that `cargo test` built, so that the crate is compiled only once
#   CARGO_TARGET_DIR   as Cargo takes it
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null # nothing here may wait for a person

target=${CARGO_TARGET_DIR:-target}
mkdir -p "${TOLLGATE_TOOLS:-$target/tools}"
TOLLGATE_TOOLS=$(cd "${TOLLGATE_TOOLS:-$target/tools}" && pwd)
export TOLLGATE_TOOLS
# The Rust tests that need real parts find them here, and fail rather than skip without them.
export TOLLGATE_ENVOY=$TOLLGATE_TOOLS/venv/bin/envoy
export TOLLGATE_GRPCURL=$TOLLGATE_TOOLS/bin/grpcurl
export TOLLGATE_VALKEY=$TOLLGATE_TOOLS/bin/valkey-server
export TOLLGATE_PROMTOOL=$TOLLGATE_TOOLS/bin/promtool
export TOLLGATE_CHROMIUM=$TOLLGATE_TOOLS/bin/chromium
export TOLLGATE_PYTHON=$TOLLGATE_TOOLS/venv/bin/python
export TOLLGATE_REQUIRE_TOOLS=1

current=
on_exit() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -n "$current" ]; then
    printf '\nFAILED in: %s, %ss after the start\n' "$current" "$SECONDS" >&2
  fi
}
trap on_exit EXIT

headline() {
  current=$1
  printf '\n=== %s  [%ss]\n' "$1" "$SECONDS"
}

tools_ready=
setup() {
  if [ -z "$tools_ready" ]; then
    headline "set-up: Python, Envoy, grpcurl, Valkey, promtool and Chromium"
    bash tests/setup.sh
    tools_ready=yes
  fi
}

lint() {
  headline "shell scripts"
  local script
  local -a scripts=()
  while IFS= read -r script; do
    scripts+=("$script")
  done < <(grep -rlE '^#!.*\b(ba)?sh$' --exclude-dir=target --exclude-dir=.git .)
  for script in "${scripts[@]}"; do
    bash -n "$script"
  done
  if command -v shellcheck >/dev/null; then
    shellcheck "${scripts[@]}"
  else
    echo "no shellcheck on this machine: only the syntax was checked"
  fi

  headline "cargo fmt"
  cargo fmt --check
  cargo fmt --check --manifest-path fuzz/Cargo.toml

  headline "cargo clippy"
  cargo clippy --all-targets --locked -- -D warnings
  # Its own level of optimisation would have everything checked once more.
  CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_OPT_LEVEL=0 \
    cargo clippy --all-targets --locked --manifest-path fuzz/Cargo.toml -- -D warnings

  headline "cargo doc"
  # The examples ask for the features that all targets have: without them, dependencies are checked twice.
  RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --lib --examples
}

rust_tests() {
  setup
  headline "cargo test"
  cargo test --locked
}

# The choices of libFuzzer begin alike each time, so that a change is not blamed for another's luck. Longer
# runs, which choose anew, are in docs/fuzzing.md.
fuzz() {
  setup
  headline "fuzz: a minute of each target"
  FUZZ_SEED=1 bash fuzz/run.sh 60
}

instructions() {
  setup
  headline "instructions of a call"
  bash benches/instructions.sh
}

# Leaves the binary under test in TOLLGATE_BIN. By default it is the one of `cargo test`, which
# by then is built: `cargo build` would compile it anew, without the dev-dependencies' features.
# It also checks arithmetic for overflow, which a release build does not.
binary() {
  if [ -z "${TOLLGATE_BIN:-}" ]; then
    headline "the binary for the suites that are not Rust"
    cargo test --locked --no-run
    TOLLGATE_BIN=$(cd "$target/debug" && pwd)/tollgate
  fi
  export TOLLGATE_BIN
}

grpcurl_suite() {
  setup
  binary
  headline "grpcurl"
  bash tests/grpcurl.sh
}

wire_suite() {
  setup
  binary
  headline "the wire, from an independent encoder"
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/wire
}

openapi_suite() {
  setup
  binary
  headline "the HTTP side, against its document"
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/openapi
}

page_suite() {
  setup
  binary
  headline "the page, in a browser"
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/page
}

deploy_files() {
  setup
  headline "deploy: hadolint"
  # Debian's packages are of the image's release: a version pinned here would only be missing one day.
  "$TOLLGATE_TOOLS/venv/bin/hadolint" --ignore DL3008 deploy/Dockerfile
  headline "deploy: kubernetes-validate"
  "$TOLLGATE_TOOLS/venv/bin/kubernetes-validate" --strict \
    $(find deploy/kubernetes -name '*.yaml' ! -name kustomization.yaml ! -name policy.yaml)
  headline "deploy: systemd-analyze"
  if command -v systemd-analyze >/dev/null; then
    local units=$target/units
    mkdir -p "$units"
    # It wants a binary that is there.
    sed 's#^ExecStart=/usr/local/bin/tollgate#ExecStart=/bin/true#' deploy/systemd/tollgate.service >"$units/tollgate.service"
    systemd-analyze verify --man=no "$units/tollgate.service"
    # Of 100; an ordinary service has 96.
    systemd-analyze security --offline=true --threshold=15 "$units/tollgate.service" >"$units/security"
    tail -n 1 "$units/security"
  else
    echo "no systemd on this machine: the unit was not read"
  fi
}

[ $# -gt 0 ] || set -- setup lint test fuzz instructions grpcurl wire openapi page deploy
for stage in "$@"; do
  case $stage in
    setup | lint | test | fuzz | instructions | grpcurl | wire | openapi | page | deploy) ;;
    *)
      echo "no stage '$stage'; there are: setup lint test fuzz instructions grpcurl wire openapi page deploy" >&2
      exit 2
      ;;
  esac
done
for stage in "$@"; do
  case $stage in
    setup) setup ;;
    lint) lint ;;
    test) rust_tests ;;
    fuzz) fuzz ;;
    instructions) instructions ;;
    grpcurl) grpcurl_suite ;;
    wire) wire_suite ;;
    openapi) openapi_suite ;;
    deploy) deploy_files ;;
    page) page_suite ;;
  esac
done

printf '\nAll passed: %s (%ss)\n' "$*" "$SECONDS"
