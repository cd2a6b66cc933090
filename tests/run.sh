#!/usr/bin/env bash
# Runs every check, from any folder, on a machine with only Rust and Debian:
#
#   bash tests/run.sh              all stages, in the order below, up to the first failure
#   bash tests/run.sh STAGE...     only these:
#
#   setup         the tools that the stages below lint use, which run it first (tests/setup.sh)
#   lint          shell syntax, cargo fmt, clippy and docs, every warning an error; of fuzz/ too
#   test          cargo test: the Rust suites, with those that need a tool
#   fuzz          the parsers, each target for a minute and all at the same time (fuzz/run.sh)
#   clock         the Rust tests that judge how long something takes, one at a time
#   instructions  a call takes no more instructions than it did (benches/instructions.sh)
#   grpcurl       a plain grpcurl against the server, through reflection (tests/grpcurl.sh)
#   wire          an independent encoder against the server (tests/wire, pytest)
#   openapi       every operation of the HTTP side against /openapi.json (tests/openapi, schemathesis)
#   deploy        linters for the Dockerfile, manifests and units of deploy/
#   page          the live page and the page of a replay, in a real browser (tests/page, pytest)
#
# grpcurl, wire, openapi and page run beside each other and beside deploy, and say at the end what came of them.
#
# Environment:
#   TOLLGATE_TOOLS     where setup puts its tools; default target/tools
#   TOLLGATE_BIN       a tollgate binary for grpcurl, wire, openapi and page to use; default: the one
#                      that `cargo test` built, so that the crate is compiled only once
#   CARGO_TARGET_DIR   as for Cargo
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null # nothing here may wait for input

target=${CARGO_TARGET_DIR:-target}
mkdir -p "${TOLLGATE_TOOLS:-$target/tools}"
TOLLGATE_TOOLS=$(cd "${TOLLGATE_TOOLS:-$target/tools}" && pwd)
export TOLLGATE_TOOLS
# The tests that need real parts find them here. Python's fail rather than skip without them.
export TOLLGATE_ENVOY=$TOLLGATE_TOOLS/venv/bin/envoy
export TOLLGATE_GRPCURL=$TOLLGATE_TOOLS/bin/grpcurl
export TOLLGATE_H2SPEC=$TOLLGATE_TOOLS/bin/h2spec
export TOLLGATE_XDS_SERVER=$TOLLGATE_TOOLS/bin/xds-server
export TOLLGATE_RATELIMIT=$TOLLGATE_TOOLS/bin/ratelimit
export TOLLGATE_RATELIMIT_CONFIG_CHECK=$TOLLGATE_TOOLS/bin/ratelimit-config-check
export TOLLGATE_VALKEY=$TOLLGATE_TOOLS/bin/valkey-server
export TOLLGATE_PROMTOOL=$TOLLGATE_TOOLS/bin/promtool
export TOLLGATE_NGINX=$TOLLGATE_TOOLS/bin/nginx
export TOLLGATE_APACHE=$TOLLGATE_TOOLS/bin/apache2
export TOLLGATE_CADDY=$TOLLGATE_TOOLS/bin/caddy
export TOLLGATE_CHROMIUM=$TOLLGATE_TOOLS/bin/chromium
export TOLLGATE_PYTHON=$TOLLGATE_TOOLS/venv/bin/python
export TOLLGATE_REQUIRE_TOOLS=1

current=
# What runs beside a stage, by name: its process.
declare -A beside=()
on_exit() {
  local status=$?
  kill "${beside[@]}" 2>/dev/null || true
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
    headline "set-up: Python, Envoy, grpcurl, h2spec, a control plane, ratelimit, Valkey, promtool, NGINX, Apache, Caddy and Chromium"
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
  cargo fmt --all --check
  cargo fmt --check --manifest-path fuzz/Cargo.toml

  headline "cargo clippy"
  cargo clippy --workspace --all-targets --features bench-drivers --locked -- -D warnings
  cargo clippy --no-default-features --locked -- -D warnings
  # Its own level of optimisation would have everything checked once more.
  CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_OPT_LEVEL=0 \
    cargo clippy --all-targets --locked --manifest-path fuzz/Cargo.toml -- -D warnings

  headline "cargo doc"
  # The examples ask for the features that all targets have: without them, dependencies are checked twice.
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --lib --examples --features bench-drivers
}

rust_tests() {
  setup
  headline "cargo test"
  # Of all targets but the drivers of benches, which clippy has checked. What needs tools is ignored by default.
  build_tests
  if [[ " ${stages[*]} " == *" instructions "* ]]; then
    begin_release_build
  fi
  # Those with processes wait for them more than they work.
  RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))} \
    cargo test --locked --workspace --lib --bins --tests -- --include-ignored --skip wall_clock::
  cargo test --locked --workspace --doc
  headline "crates that stand alone, with their own features"
  cargo check --locked -p access-log
  cargo check --locked -p unary-h2
  headline "cargo test, without OpenTelemetry"
  # It starts the program once, which need not be fast. What it depends on is taken as the tests above have built it.
  cargo test --config 'profile.test.package.tollgate.opt-level=0' --locked --no-default-features --test without_otlp
}

build_tests() {
  cargo test --locked --workspace --lib --bins --tests --no-run
}

# The build that `instructions` counts. Most of it keeps one core busy, and the tests often wait for processes. It goes on
# beside `fuzz`.
begin_release_build() {
  nice -n 10 cargo build --release --locked --features bench-drivers --example instructions \
    >"$target/release-build.log" 2>&1 &
  beside[release]=$!
}

# Beside other tests they would judge how busy the machine is.
clock() {
  setup
  wait_for_release_build
  headline "tests that judge how long something takes"
  cargo test --locked --workspace --test processes -- --include-ignored --test-threads 1 wall_clock::
}

# The seed of libFuzzer is fixed, so that a run differs from the last only by the change under test. docs/fuzzing.md
# has longer runs with other seeds.
fuzz() {
  setup
  headline "fuzz: a minute of each target"
  # The release build comes first: it can use one core only, and what follows waits for it.
  FUZZ_SEED=1 nice -n 15 bash fuzz/run.sh 60
}

# Should it have failed, the stage that needs it builds again and says why.
wait_for_release_build() {
  if [ -n "${beside[release]:-}" ]; then
    headline "the release build, begun beside the tests"
    wait "${beside[release]}" || true
    unset "beside[release]"
  fi
}

instructions() {
  setup
  wait_for_release_build
  headline "instructions of a call"
  bash benches/instructions.sh
}

# Leaves the binary under test in TOLLGATE_BIN. By default it is the one of `cargo test`, which
# by then is built: `cargo build` would compile it anew, without the dev-dependencies' features.
# It also checks arithmetic for overflow, which a release build does not.
binary() {
  if [ -z "${TOLLGATE_BIN:-}" ]; then
    headline "the binary for the suites that are not Rust"
    build_tests
    TOLLGATE_BIN=$(cd "$target/debug" && pwd)/tollgate
  fi
  export TOLLGATE_BIN
}

grpcurl_suite() {
  bash tests/grpcurl.sh
}

wire_suite() {
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/wire
}

openapi_suite() {
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/openapi
}

page_suite() {
  "$TOLLGATE_PYTHON" -B -m pytest -q -p no:cacheprovider -p no:schemathesis tests/page
}

# begin_beside STAGE: each has servers of its own, and waits for them more than it works.
begin_beside() {
  setup
  binary
  "$1_suite" >"$target/$1.log" 2>&1 &
  beside[$1]=$!
}

# Shows what those said that were begun, one after another.
end_beside() {
  local stage status
  for stage in grpcurl wire openapi page; do
    if [ -n "${beside[$stage]:-}" ]; then
      headline "$stage"
      status=0
      wait "${beside[$stage]}" || status=$?
      unset "beside[$stage]"
      cat "$target/$stage.log"
      [ "$status" -eq 0 ] || exit "$status"
    fi
  done
}

deploy_files() {
  setup
  headline "deploy: hadolint"
  # Debian's packages are of the image's release: a version pinned here would only be missing one day.
  "$TOLLGATE_TOOLS/venv/bin/hadolint" --ignore DL3008 deploy/Dockerfile
  headline "deploy: kubernetes-validate"
  "$TOLLGATE_TOOLS/venv/bin/kubernetes-validate" --strict \
    $(find deploy/kubernetes -name '*.yaml' ! -name kustomization.yaml ! -name policy.yaml) \
    deploy/istio/ratelimit.yaml deploy/contour/ratelimit.yaml
  headline "deploy: schemas of Istio and Contour"
  "$TOLLGATE_TOOLS/venv/bin/python" tests/deploy/custom_resources.py "$TOLLGATE_TOOLS/schemas" \
    deploy/istio/envoyfilter.yaml deploy/contour/extensionservice.yaml deploy/contour/httpproxy.yaml
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

[ $# -gt 0 ] || set -- setup lint test fuzz clock instructions grpcurl wire openapi page deploy
for stage in "$@"; do
  case $stage in
    setup | lint | test | clock | fuzz | instructions | grpcurl | wire | openapi | page | deploy) ;;
    *)
      echo "no stage '$stage'; there are: setup lint test fuzz clock instructions grpcurl wire openapi page deploy" >&2
      exit 2
      ;;
  esac
done
stages=("$@")
for stage in "$@"; do
  case $stage in
    setup) setup ;;
    lint) lint ;;
    test) rust_tests ;;
    clock) clock ;;
    fuzz) fuzz ;;
    instructions) instructions ;;
    grpcurl | wire | openapi | page) begin_beside "$stage" ;;
    deploy) deploy_files ;;
  esac
done
end_beside

printf '\nAll passed: %s (%ss)\n' "$*" "$SECONDS"
