"""Short ways to say requests and to read answers."""

import grpc
import pytest
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

from stubs import descriptor as _descriptor
from stubs import ratelimit, types

OK = ratelimit.RateLimitResponse.OK
OVER_LIMIT = ratelimit.RateLimitResponse.OVER_LIMIT
Unit = ratelimit.RateLimitResponse.RateLimit

_SECONDS = {
    Unit.SECOND: 1,
    Unit.MINUTE: 60,
    Unit.HOUR: 3_600,
    Unit.DAY: 86_400,
    Unit.WEEK: 604_800,
    Unit.MONTH: 30 * 86_400,
    Unit.YEAR: 365 * 86_400,
}


def entries(*facts, **more):
    """A descriptor of these facts. `hits`: its own addend; `back`: give back; `limit`: (n, unit, multiplier)."""
    hits, back, limit = more.pop("hits", None), more.pop("back", False), more.pop("limit", None)
    made = _descriptor.RateLimitDescriptor(is_negative_hits=back)
    for key, value in [*facts, *more.items()]:
        made.entries.add(key=key, value=value)
    if hits is not None:
        made.hits_addend.CopyFrom(UInt64Value(value=hits))
    if limit is not None:
        count, unit, *multiplier = limit
        made.limit.requests_per_unit = count
        made.limit.unit = types.RateLimitUnit.Value(unit)
        if multiplier:
            made.limit.unit_multiplier.CopyFrom(UInt32Value(value=multiplier[0]))
    return made


def request(*descriptors, domain="test", hits=0):
    """A request of these descriptors."""
    return ratelimit.RateLimitRequest(domain=domain, descriptors=descriptors, hits_addend=hits)


def one(domain="test", request_hits=0, **facts):
    """A request of one descriptor, said as in `entries`."""
    return request(entries(**facts), domain=domain, hits=request_hits)


def admitted(answer):
    """Whether the call may pass; anything that is neither yes nor no is a failure."""
    assert answer.overall_code in (OK, OVER_LIMIT), answer
    return answer.overall_code == OK


def response_headers(answer):
    """The headers for the client, which must be single: Envoy appends them."""
    headers = {}
    for header in answer.response_headers_to_add:
        assert header.key == header.key.lower(), f"HTTP/2 names are lower case: {header.key}"
        assert header.key not in headers, f"{header.key} is sent twice"
        headers[header.key] = header.value or header.raw_value.decode()
    return headers


def request_headers(answer):
    """The headers for the upstream."""
    return {header.key: header.value for header in answer.request_headers_to_add}


def remaining(answer):
    """What each status has left, in order."""
    return [status.limit_remaining for status in answer.statuses]


def rate(status):
    """The rate a status tells: (requests, seconds)."""
    limit = status.current_limit
    multiplier = limit.unit_multiplier.value if limit.HasField("unit_multiplier") else 1
    return limit.requests_per_unit, _SECONDS[limit.unit] * multiplier


def seconds_until_reset(status):
    """Seconds and fractions until the bucket of a status is full."""
    return status.duration_until_reset.seconds + status.duration_until_reset.nanos / 1e9


def look(server, **facts):
    """What is left, without taking any."""
    return remaining(server.ask(one(hits=0, **facts)))[0]


def refused_as_invalid(server, message):
    """The text of the INVALID_ARGUMENT that a request must get."""
    with pytest.raises(grpc.RpcError) as refused:
        server.ask(message)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, refused.value
    return refused.value.details()


# The wire by hand, for what no encoder would send.


def varint(number):
    """A base-128 number; a negative one as its 64-bit two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number_field(field, number):
    return varint(field << 3) + varint(number)


def bytes_field(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def raw_entry(key, value):
    """Entry 1 of a descriptor."""
    return bytes_field(1, bytes_field(1, key) + bytes_field(2, value))


def raw_request(*descriptors, domain="test"):
    """Descriptors are the bytes of their content."""
    return bytes_field(1, domain) + b"".join(bytes_field(2, content) for content in descriptors)
