#!/usr/bin/env bash
# What run.sh runs for each store, in a network and with mounts of its own: STORE FOLDER GATEWAY ENVOY TOLLGATE.
set -euo pipefail

store=$1 work=$2 gateway=$3 envoy=$4 tollgate=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

ip link set lo up

# The file system of this machine with what containers of Envoy Gateway have: certificates in /certs, and names for the
# control plane and the rate-limit service.
root=$work/root
mkdir "$root"
mount -t tmpfs tmpfs "$root"
for entry in /*; do
  if [ -L "$entry" ]; then
    cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    mount --rbind "$entry" "$root$entry"
  fi
done
mkdir -p "$root/certs"
mount -t tmpfs tmpfs "$root/certs" # over one that this machine may have
echo '127.0.0.1 localhost envoy-gateway envoy-ratelimit.envoy-gateway-system.svc.cluster.local' >"$work/hosts"
mount --bind "$work/hosts" "$root/etc/hosts"

declare -A pids=()

fail() {
  local log
  printf 'FAILED: %s\n' "$1" >&2
  for log in "$work"/*.log; do
    printf '%s\n' "--- the end of $(basename "$log"):" >&2
    tail -n 30 "$log" >&2
  done
  exit 1
}

passed=0
pass() {
  passed=$((passed + 1))
  printf 'ok: %s: %s\n' "$store" "$1"
}

# start NAME COMMAND...
start() {
  local name=$1
  shift
  chroot "$root" "$@" >>"$work/$name.log" 2>&1 &
  pids[$name]=$!
}

# stop NAME: ends it, and waits until it has ended.
stop() {
  kill "${pids[$1]}"
  for _ in $(seq 300); do
    kill -0 "${pids[$1]}" 2>/dev/null || return 0
    sleep 0.1
  done
  fail "$1 did not end within 30 s"
}

# until_true WHAT COMMAND...: the command succeeds within 30 s.
until_true() {
  local what=$1
  shift
  for _ in $(seq 300); do
    ! "$@" || return 0
    sleep 0.1
  done
  fail "not within 30 s: $what"
}

get() { curl --noproxy '*' -sf -m 5 "$@"; }

# A request of USER through the gateway, `nobody` for one without a user: prints the status; the headers are in a file.
ask() {
  local -a user=()
  [ "$1" = nobody ] || user=(-H "x-user-id: $1")
  curl --noproxy '*' -s -m 10 -o /dev/null -D "$work/headers" -w '%{http_code}' \
    -H 'host: shop.example' "${user[@]}" "http://127.0.0.1:8888/?$1" || true
}

# How many requests of USER came through to the backend.
served() { grep -c "GET /?$1 " "$work/backend.log" || true; }

# expect CLAIM USER STATUS...: one request of the user for each status; the backend sees those that get 200, and no other.
expect() {
  local claim=$1 user=$2 want got through
  shift 2
  through=$(served "$user")
  for want in "$@"; do
    got=$(ask "$user")
    [ "$got" = "$want" ] || fail "$claim: a request of $user got $got in place of $want"
    [ "$want" != 200 ] || through=$((through + 1))
    [ "$(served "$user")" = "$through" ] || fail "$claim: the backend saw $(served "$user") requests of $user, not $through"
  done
  pass "$claim"
}

# Whether a user whom no step counts meets this limit, or none. Envoy tells the limit of each answer of tollgate.
limit_is() {
  local status
  status=$(ask probe)
  case $1 in
    none) [ "$status" = 200 ] && ! grep -qi '^x-ratelimit-limit:' "$work/headers" ;;
    *) grep -qiE "^x-ratelimit-limit: $1(,|\\s|\$)" "$work/headers" ;;
  esac
}

# Takes the policy from standard input. Envoy Gateway never sees half of it.
replace_policy() {
  cat >"$work/policy.yaml"
  mv "$work/policy.yaml" "$work/resources/policy.yaml"
}

# policy LIMIT [UNIT]: writes the policy anew.
policy() { sed "s/LIMIT/$1/; s/Year/${2:-Year}/" "$here/policy.yaml" | replace_policy; }

# limit NUMBER: the policy with this limit comes into force.
limit() {
  policy "$1"
  until_true "the limit is $1" limit_is "$1"
}

refusals() { grep -c "error when reload resources" "$work/gateway.log" || true; }
refused() { [ "$(refusals)" -gt "$1" ]; }

# After tollgate: Envoy Gateway has a probe and metrics on two of the ports that the rate-limit service has in its own
# container, and does without them if they are taken.
start_gateway() {
  start gateway "$gateway" server --config-path "$work/gateway.yaml"
}

# The environment of Envoy Gateway's rate-limit deployment, and its command; but for PROMETHEUS_MAPPER_YAML, whose file has
# what tollgate and envoyproxy/ratelimit have built in. For the store memory there is also what
# deploy/envoy-gateway/memory-values.yaml adds, and nobody listens where REDIS_URL says.
start_tollgate() {
  local -a own=(TOLLGATE_DRAIN_DELAY=0s)
  [ "$store" = redis ] || own+=(TOLLGATE_STORE=memory)
  start tollgate env -i "${own[@]}" \
    RUNTIME_ROOT=/data \
    RUNTIME_SUBDIRECTORY=ratelimit \
    RUNTIME_IGNOREDOTFILES=true \
    RUNTIME_WATCH_ROOT=false \
    LOG_LEVEL=info \
    USE_STATSD=false \
    CONFIG_TYPE=GRPC_XDS_SOTW \
    CONFIG_GRPC_XDS_SERVER_URL=envoy-gateway:18001 \
    CONFIG_GRPC_XDS_NODE_ID=envoy-ratelimit \
    GRPC_SERVER_USE_TLS=true \
    GRPC_SERVER_TLS_CERT=/certs/tls.crt \
    GRPC_SERVER_TLS_KEY=/certs/tls.key \
    GRPC_SERVER_TLS_CA_CERT=/certs/ca.crt \
    CONFIG_GRPC_XDS_SERVER_USE_TLS=true \
    CONFIG_GRPC_XDS_CLIENT_TLS_CERT=/certs/tls.crt \
    CONFIG_GRPC_XDS_CLIENT_TLS_KEY=/certs/tls.key \
    CONFIG_GRPC_XDS_SERVER_TLS_CACERT=/certs/ca.crt \
    FORCE_START_WITHOUT_INITIAL_CONFIG=true \
    REDIS_SOCKET_TYPE=tcp \
    REDIS_URL=localhost:6379 \
    USE_PROMETHEUS=true \
    PROMETHEUS_ADDR=:19001 \
    "$work/bin/ratelimit"
  until_true "tollgate is healthy" get -o /dev/null http://127.0.0.1:8080/healthcheck
}

# Envoy Gateway looks for the Envoy of this version here, and would else download it. This one goes on without Envoy
# Gateway, as the Envoys of a cluster do; with hot restart, it would end when its parent does.
envoy_version=$("$envoy" --version | grep -oE '/[0-9]+\.[0-9]+\.[0-9]+/' | tr -d /)
folder=$work/data/envoy-versions/$envoy_version/bin
mkdir -p "$folder" "$work/bin" "$work/resources" "$work/files"
cat >"$folder/envoy" <<WRAPPER
#!/usr/bin/env bash
setsid $(printf %q "$envoy") --disable-hot-restart "\$@" >>$(printf %q "$work/envoy.log") 2>&1 &
echo \$! >$(printf %q "$work/envoy.pid")
wait
WRAPPER
chmod +x "$folder/envoy"
ln -s "$tollgate" "$work/bin/ratelimit"
sed "s|WORK|$work|" "$here/gateway.yaml" >"$work/gateway.yaml"
sed "s|ENVOY|$envoy_version|" "$here/resources.yaml" >"$work/resources/resources.yaml"
"$gateway" certgen --local --config-home "$work/config" >"$work/certgen.log" 2>&1 || fail "no certificates"
cp "$work"/config/certs/envoy-rate-limit/* "$root/certs/"

start backend python3 -m http.server --bind 127.0.0.1 --directory "$work/files" 3000
if [ "$store" = redis ]; then
  start redis redis-server --bind 127.0.0.1 --port 6379 --save '' --appendonly no --dir "$work/files"
fi
policy 3
start_tollgate
start_gateway
until_true "the limit is 3" limit_is 3

expect "three requests of a user pass, and the fourth does not" ann 200 200 200 429
grep -qiE '^x-ratelimit-remaining: 0\b' "$work/headers" || fail "the answer does not say that nothing remains"
expect "another user passes" bob 200
expect "a third one has three requests as well" cat 200 200 200
expect "requests without a user meet no limit" nobody 200 200 200 200

limit 5
expect "with 5 in place of 3, two more pass" cat 200 200 429
expect "what was denied has counted, as with envoyproxy/ratelimit" ann 200 429

# Envoy Gateway sends nothing of either.
before=$(refusals)
echo 'kind: [' | replace_policy
until_true "Envoy Gateway refuses what is no YAML" refused "$before"
before=$(refusals)
policy 9 Fortnight
until_true "Envoy Gateway refuses a policy with an unknown unit" refused "$before"
expect "a faulty policy leaves the limit in force" cat 429
expect "a faulty policy leaves to others what they have left" bob 200

rm "$work/resources/policy.yaml"
until_true "there is no limit" limit_is none
expect "without the policy, everything passes" cat 200 200
domains=$(get http://127.0.0.1:6070/rlconfig)
[ -z "$domains" ] || fail "there is still a limit: $domains"
limit 5
expect "the policy comes back, and the counts are those from before" cat 429
expect "those of a user with requests left, too" bob 200 200 200 429

stop gateway
expect "without Envoy Gateway, a spent limit stays spent" ann 429
expect "without Envoy Gateway, a new user has five requests" dan 200 200 200 200 200 429
get -o /dev/null http://127.0.0.1:8080/healthcheck || fail "tollgate is unhealthy without Envoy Gateway"
pass "without Envoy Gateway, tollgate is healthy"

pids[envoy]=$(cat "$work/envoy.pid")
stop envoy
policy 7
start_gateway
until_true "the limit is 7" limit_is 7
expect "Envoy Gateway comes back, with 7 in place of 5" dan 200 429

stop tollgate
expect "without tollgate, failClosed refuses requests" eve 500
start_tollgate
until_true "the limit is 7" limit_is 7
case $store in
  redis) expect "a new tollgate finds the counts in Redis" dan 429 ;;
  memory) expect "a new tollgate counts anew" dan 200 200 200 200 200 200 200 429 ;;
esac

# envoyproxy/ratelimit, of which these are the names, hands them over every 10 s.
denials_are_told() {
  get http://127.0.0.1:19001/metrics >"$work/metrics"
  grep -qE '^ratelimit_service_rate_limit_over_limit\{domain="envoy-gateway-system/shop/http",.*\} [1-9]' "$work/metrics"
}
until_true "the metrics tell what was denied" denials_are_told
pass "the metrics tell what was denied"
! grep -E ' ERROR ' "$work/tollgate.log" >&2 || fail "tollgate has logged errors"

printf '%s: %s passed, 0 failed\n' "$store" "$passed"
