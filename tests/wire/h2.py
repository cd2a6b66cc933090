"""Just enough HTTP/2 to send what a gRPC library would not: a call cut short, a call reset.

Frames are written by hand and headers are never compressed; of the server's side only what
the tests ask for is understood.
"""

import socket
import struct

from tollgate import PATIENCE

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
CANCEL = 0x8

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(headers):
    """HPACK literals, never indexed, without Huffman coding."""

    def text(value):
        raw = value.encode()
        assert len(raw) < 127, "longer lengths take more than one byte"
        return bytes([len(raw)]) + raw

    return b"".join(b"\x10" + text(name) + text(value) for name, value in headers)


def grpc_message(message, compressed=0):
    return struct.pack(">BI", compressed, len(message)) + message


class Connection:
    """One HTTP/2 connection to a gRPC server."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._authority = address
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._buffer = b""
        self._next_stream = 1
        self.send(_PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, octets):
        """In one write, so that the server finds it in one read."""
        self._socket.sendall(octets)

    def new_stream(self):
        stream = self._next_stream
        self._next_stream += 2
        return stream

    def call_headers(self, stream, extra=(), path=_METHOD, method="POST", kind="application/grpc"):
        """The headers of a call as Envoy sends them, but for its method and what it says that it is."""
        block = header_block(
            [
                (":method", method),
                (":path", path),
                (":authority", self._authority),
                (":scheme", "http"),
                ("te", "trailers"),
                *([("content-type", kind)] if kind is not None else []),
                ("x-envoy-internal", "true"),
                ("x-forwarded-for", "127.0.0.1"),
                *extra,
            ]
        )
        return frame(HEADERS, END_HEADERS, stream, block)

    def frames(self):
        """What the server sends, with settings and pings answered, until it closes."""
        while True:
            while len(self._buffer) < 9:
                if not self._receive():
                    return
            length = int.from_bytes(self._buffer[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
            while len(self._buffer) < 9 + length:
                if not self._receive():
                    return
            payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
            yield kind, flags, stream, payload

    def _receive(self):
        octets = self._socket.recv(65536)
        self._buffer += octets
        return bool(octets)

    def wait_for(self, kind, stream=0, flags=0):
        """The payload of the next such frame; what comes before it is dropped."""
        for got_kind, got_flags, got_stream, payload in self.frames():
            if (got_kind, got_stream) == (kind, stream) and got_flags & flags == flags:
                return payload
        raise AssertionError(f"the server closed before it sent a frame of kind {kind} on stream {stream}")

    def answer(self, stream):
        """The octets of the answer on a stream, once it has ended: (headers and trailers, data)."""
        headers, data = b"", b""
        for kind, flags, got_stream, payload in self.frames():
            if got_stream != stream:
                continue
            assert kind != RST_STREAM, f"the server reset stream {stream}: {payload.hex()}"
            if kind == DATA:
                data += payload
            if kind in (HEADERS, CONTINUATION):
                headers += payload
            if flags & END_STREAM and kind in (DATA, HEADERS):
                return headers, data
        raise AssertionError(f"the server closed before it had answered stream {stream}")
