"""An Envoy that limits by itself: its stream to the quota service."""

import queue

STREAM = "/envoy.service.rate_limit_quota.v3.RateLimitQuotaService/StreamRateLimitQuotas"


def varint(number):
    """A number of protobuf: seven bits in each byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """A field of a message of protobuf: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def usage(bucket_id, elapsed, allowed):
    """What a report says of a bucket id: requests let through since `elapsed` seconds, 0 in its first report."""
    entries = [field(1, key.encode()) + field(2, value.encode()) for key, value in bucket_id.items()]
    named = b"".join(field(1, entry) for entry in entries)
    return field(1, named) + field(2, field(1, elapsed) if elapsed else b"") + field(3, allowed)


class Envoy:
    """A stream that stays open until it is ended."""

    def __init__(self, server, domain="d"):
        self._domain = domain
        self._reports = queue.Queue()
        self._told = server.channel.stream_stream(STREAM)(iter(self._reports.get, None))

    def report(self, *usages):
        """Reports, and returns once something is told."""
        self._reports.put(field(1, self._domain.encode()) + b"".join(field(2, usage) for usage in usages))
        assert next(self._told)

    def end(self):
        self._reports.put(None)
