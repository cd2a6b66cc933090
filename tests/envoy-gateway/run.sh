#!/usr/bin/env bash
# Runs tollgate behind the real Envoy Gateway, in place of envoyproxy/ratelimit:
#
#   bash tests/envoy-gateway/run.sh [STORE]...     the stores memory and redis, or those that are named
#
# Envoy Gateway runs standalone: it reads its resources from files and starts an Envoy on this machine. tollgate has the
# environment, the certificates and the command of Envoy Gateway's rate-limit deployment, takes the limits from Envoy
# Gateway over xDS, and answers Envoy. steps.sh says what is asked through that Envoy. It is no stage of tests/run.sh,
# since Envoy Gateway takes minutes to build for the first time.
#
# Needs Linux with unshare and ip, as root or with user namespaces; curl, python3 and redis-server; Go, unless there is a
# binary. Everything listens in a network of its own, and ends with the script, whatever happens. Configurations and logs
# stay in target/envoy-gateway.
#
# Environment:
#   TOLLGATE_ENVOY_GATEWAY  an envoy-gateway binary; default: the version below, built into target/envoy-gateway
#   TOLLGATE_ENVOY          Envoy; default: the one that tests/setup.sh puts into target/tools
#   TOLLGATE_BIN            a tollgate binary; default: target/debug/tollgate, which is built. With envoyproxy/ratelimit
#                           itself, every step of the store redis must hold as well
#   CARGO_TARGET_DIR        as for Cargo
set -euo pipefail

version=v1.9.1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
exec </dev/null # nothing here may wait for input
target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

die() {
  printf 'envoy-gateway: %s\n' "$*" >&2
  exit 1
}

PATH=$PATH:/usr/sbin:/sbin # Debian has chroot there
for tool in unshare chroot ip curl python3 redis-server; do
  command -v "$tool" >/dev/null || die "needs $tool (Debian's util-linux, iproute2, curl, python3 and redis-server)"
done

envoy=${TOLLGATE_ENVOY:-${TOLLGATE_TOOLS:-$target/tools}/venv/bin/envoy}
[ -x "$envoy" ] || die "there is no $envoy: run \`bash tests/run.sh setup\`, or set TOLLGATE_ENVOY"

gateway=${TOLLGATE_ENVOY_GATEWAY:-$target/envoy-gateway/$version/envoy-gateway}
if [ ! -x "$gateway" ]; then
  [ -z "${TOLLGATE_ENVOY_GATEWAY:-}" ] || die "there is no $gateway, which TOLLGATE_ENVOY_GATEWAY names"
  command -v go >/dev/null || die "needs Go, or TOLLGATE_ENVOY_GATEWAY"
  echo "building Envoy Gateway $version"
  GOBIN=$(dirname "$gateway") CGO_ENABLED=0 go install "github.com/envoyproxy/gateway/cmd/envoy-gateway@$version"
fi

tollgate=${TOLLGATE_BIN:-$target/debug/tollgate}
[ -n "${TOLLGATE_BIN:-}" ] || cargo build --locked --bin tollgate
[ -x "$tollgate" ] || die "there is no $tollgate"

# timeout hands SIGTERM on to unshare, and a second later SIGKILL.
running=
end() { [ -z "$running" ] || kill "$running" 2>/dev/null || true; }
trap end EXIT
trap 'exit 130' INT TERM

# A network, mounts and processes of their own: they end with the first of these processes, and that with unshare.
separate=(--net --mount --pid --fork --kill-child)
[ "$(id -u)" = 0 ] || separate+=(--map-root-user)
[ $# -gt 0 ] || set -- memory redis
for store in "$@"; do
  case $store in
    memory | redis) ;;
    *) die "there is no store $store: memory or redis" ;;
  esac
  work=$target/envoy-gateway/$store
  rm -rf --one-file-system "$work"
  mkdir -p "$work"
  timeout --foreground --kill-after=1 180 unshare "${separate[@]}" \
    bash "$here/steps.sh" "$store" "$work" "$gateway" "$envoy" "$tollgate" &
  running=$!
  wait "$running" || die "failed with the store $store, or took longer than 180 s; logs are in $work"
  running=
done
