#!/usr/bin/env bash
# Runs a plain grpcurl against the server, without a proto file, as a new user would.
#
# Uses the tollgate of $TOLLGATE_BIN (default target/debug/tollgate) and the grpcurl of
# $TOLLGATE_GRPCURL (default target/tools/bin/grpcurl); tests/run.sh sets both.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
tollgate=${TOLLGATE_BIN:-$target/debug/tollgate}
grpcurl=${TOLLGATE_GRPCURL:-${TOLLGATE_TOOLS:-$target/tools}/bin/grpcurl}
service=envoy.service.ratelimit.v3.RateLimitService
call=$service/ShouldRateLimit

work=$(mktemp -d)
server=
clean_up_server() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
  fi
}
clean_up() {
  clean_up_server
  rm -rf "$work"
}
trap clean_up EXIT

fail() {
  printf 'FAILED: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '%s\n' "--- what came back:" "$2" >&2
  printf '%s\n' "--- tollgate's log:" >&2
  cat "$work/log" >&2
  exit 1
}

for tool in "$tollgate" "$grpcurl"; do
  [ -x "$tool" ] || {
    echo "there is no $tool: run \`bash tests/run.sh grpcurl\`" >&2
    exit 1
  }
done

# start ADDRESS: has a server listen there, in place of the one before; `address` is where it does.
start() {
  clean_up_server
  "$tollgate" serve --config "$root/config/management-api.yaml" \
    --grpc "$1" --http 127.0.0.1:0 --log-format json --drain-delay 0s </dev/null >/dev/null 2>"$work/log" &
  server=$!
  # The line with the addresses comes once they are bound; a healthy start takes milliseconds.
  address=
  for _ in $(seq 300); do
    address=$(sed -n 's/.*"message":"started".*"grpc":"\([^"]*\)".*/\1/p' "$work/log")
    [ -z "$address" ] || return 0
    kill -0 "$server" 2>/dev/null || fail "tollgate ended before it had started"
    sleep 0.1
  done
  fail "tollgate did not start within 30 s"
}

start 127.0.0.1:0

passed=0
pass() {
  passed=$((passed + 1))
  printf 'ok: %s\n' "$1"
}

# ask CLAIM EXPECTED GRPCURL-ARGUMENT...: every line of EXPECTED is in what grpcurl prints, which succeeds.
ask() {
  local claim=$1 expected=$2 line output
  shift 2
  output=$("$grpcurl" -plaintext -max-time 30 "$@" 2>&1) || fail "$claim: grpcurl failed" "$output"
  while IFS= read -r line; do
    grep -qF -- "$line" <<<"$output" || fail "$claim: no '$line'" "$output"
  done <<<"$expected"
  pass "$claim"
}

# refused CLAIM CODE MESSAGE REQUEST: the call fails with exactly this code and message.
refused() {
  local claim=$1 code=$2 message=$3 output
  if output=$("$grpcurl" -plaintext -max-time 30 -d "$4" "$address" "$call" 2>&1); then
    fail "$claim: the call was answered" "$output"
  fi
  grep -qE "^ *Code: $code\$" <<<"$output" || fail "$claim: the code is not $code" "$output"
  grep -qE "^ *Message: $message\$" <<<"$output" || fail "$claim: the message is not '$message'" "$output"
  pass "$claim"
}

# request TENANT MORE-OF-THE-DESCRIPTOR: key rotation has five tokens a day, whatever the time is.
request() {
  printf '{"domain": "management-api", "descriptors": [{"entries": [
    {"key": "tenant", "value": "%s"}, {"key": "tenant_type", "value": "startup"},
    {"key": "endpoint_group", "value": "rotate_signing_keys"}] %s}]}' "$1" "${2:-}"
}

ask "list names every service" \
  "$service
grpc.health.v1.Health
grpc.reflection.v1" "$address" list

ask "list names the one method" "$service.ShouldRateLimit" "$address" list "$service"

ask "describe shows the service" \
  "rpc ShouldRateLimit ( .envoy.service.ratelimit.v3.RateLimitRequest )
returns ( .envoy.service.ratelimit.v3.RateLimitResponse );" \
  "$address" describe "$service"

ask "describe shows the request" \
  "string domain = 1;
repeated .envoy.extensions.common.ratelimit.v3.RateLimitDescriptor descriptors = 2;
uint32 hits_addend = 3;" "$address" describe envoy.service.ratelimit.v3.RateLimitRequest

ask "describe shows the descriptor with every field of Envoy 1.40" \
  "repeated .envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry entries = 1;
.envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.RateLimitOverride limit = 2;
.google.protobuf.UInt64Value hits_addend = 3;
bool is_negative_hits = 4;" "$address" describe envoy.extensions.common.ratelimit.v3.RateLimitDescriptor

ask "describe shows the limit that a descriptor can bring along" \
  "uint32 requests_per_unit = 1;
.envoy.type.v3.RateLimitUnit unit = 2;
.google.protobuf.UInt32Value unit_multiplier = 3;" \
  "$address" describe envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.RateLimitOverride

ask "describe shows the response with every field of Envoy 1.40" \
  ".envoy.service.ratelimit.v3.RateLimitResponse.Code overall_code = 1;
repeated .envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus statuses = 2;
repeated .envoy.config.core.v3.HeaderValue response_headers_to_add = 3;
repeated .envoy.config.core.v3.HeaderValue request_headers_to_add = 4;
bytes raw_body = 5;
.google.protobuf.Struct dynamic_metadata = 6;
.envoy.service.ratelimit.v3.RateLimitResponse.Quota quota = 7;" \
  "$address" describe envoy.service.ratelimit.v3.RateLimitResponse

ask "describe shows the status of a descriptor" \
  ".envoy.service.ratelimit.v3.RateLimitResponse.Code code = 1;
.envoy.service.ratelimit.v3.RateLimitResponse.RateLimit current_limit = 2;
uint32 limit_remaining = 3;
.google.protobuf.Duration duration_until_reset = 4;
.envoy.service.ratelimit.v3.RateLimitResponse.Quota quota = 5;" \
  "$address" describe envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus

ask "describe shows the current limit" \
  "uint32 requests_per_unit = 1;
string name = 3;
.google.protobuf.UInt32Value unit_multiplier = 4;
WEEK = 7;" \
  "$address" describe envoy.service.ratelimit.v3.RateLimitResponse.RateLimit

ask "a call within the limit is OK, with a status and headers" \
  '"overallCode": "OK"
"code": "OK"
"requestsPerUnit": 5
"unit": "DAY"
"limitRemaining": 4
"durationUntilReset":
"key": "x-ratelimit-remaining"' \
  -d "$(request acme)" "$address" "$call"

ask "a call of more hits than are left is OVER_LIMIT, with a body" \
  '"overallCode": "OVER_LIMIT"
"code": "OVER_LIMIT"
"limitRemaining": 4
"key": "retry-after"
"rawBody":' \
  -d "$(request acme ', "hitsAddend": "5"')" "$address" "$call"

ask "a limit in the request takes the place of the policy's" \
  '"overallCode": "OK"
"requestsPerUnit": 7
"unit": "HOUR"
"unitMultiplier": 2
"limitRemaining": 6' \
  -d "$(request acme ', "limit": {"requestsPerUnit": 7, "unit": "HOUR", "unitMultiplier": 2}')" "$address" "$call"

ask "hits given back are OK" \
  '"overallCode": "OK"
"limitRemaining": 5' \
  -d "$(request acme ', "isNegativeHits": true')" "$address" "$call"

refused "an empty domain is told in the reference's words" InvalidArgument \
  "rate limit domain must not be empty" \
  '{"descriptors": [{"entries": [{"key": "tenant", "value": "acme"}]}]}'

refused "no descriptors are told in the reference's words" InvalidArgument \
  "rate limit descriptor list must not be empty" \
  '{"domain": "management-api"}'

refused "a limit without a unit is told, not obeyed and no crash" InvalidArgument \
  ".*unit.*" \
  "$(request acme ', "limit": {"requestsPerUnit": 7}')"

ask "a limit of no requests denies" \
  '"overallCode": "OVER_LIMIT"
"bucket": "blocked"' \
  -d "$(request acme ', "limit": {"unit": "HOUR"}')" "$address" "$call"

refused "a descriptor without entries is told" InvalidArgument \
  ".*entries.*" \
  '{"domain": "management-api", "descriptors": [{}]}'

ask "the server as a whole is SERVING" '"status": "SERVING"' "$address" grpc.health.v1.Health/Check

ask "the service is SERVING" '"status": "SERVING"' \
  -d "{\"service\": \"$service\"}" "$address" grpc.health.v1.Health/Check

# The name that the caller has for the server: of a cluster of Istio or Envoy Gateway, or a path.
for authority in 'outbound|8081||tollgate.default.svc' a/b/c %2Frun%2Ftollgate%2Fgrpc.sock 'two words' café; do
  ask "a server that is called '$authority' answers calls" '"overallCode": "OK"' \
    -authority "$authority" -d "$(request "$authority")" "$address" "$call"
  ask "a server that is called '$authority' answers for its health" '"status": "SERVING"' \
    -authority "$authority" "$address" grpc.health.v1.Health/Check
done

# Without a name grpcurl sends the path of the socket, percent-encoded.
start "unix:$work/grpc.sock"
ask "a call over a Unix domain socket is OK" '"overallCode": "OK"' \
  -unix -d "$(request socket)" "$work/grpc.sock" "$call"
ask "list names every service over a Unix domain socket" "$service" -unix "$work/grpc.sock" list

printf '%s passed, 0 failed\n' "$passed"
