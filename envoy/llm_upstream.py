#!/usr/bin/env python3
"""Stands in for a service of language models: answers chat completions as OpenAI's API does, and tells their usage.

    python3 envoy/llm_upstream.py            # on 127.0.0.1:9000

Of a request's body it reads

    model           small-* and large-* are there; others get a 404
    messages        each word is a prompt token
    max_tokens      this many completion tokens are in the answer, 16 if it is no number; or max_completion_tokens
    stream          true: server-sent events instead of one JSON body
    stream_options  {"include_usage": true}: the event before the last tells the usage

and its header `x-upstream` makes it misbehave, to show what Envoy makes of it:

    error      a 500 with OpenAI's error body
    no-usage   an answer that does not tell its usage
    break      the connection ends in the middle of the answer
    hang       of a stream the first event, and nothing more until the client hangs up; else nothing at all

The answer is the word "ok", however many tokens it costs: nothing looks at the text. It is compressed if the client
accepts gzip.
"""

import argparse
import gzip
import http.server
import json

# How long an answer hangs at most.
HANG_SECONDS = 600


def usage_of(body: dict) -> dict:
    texts = [str(message.get("content", "")) for message in body.get("messages", [])]
    prompt = sum(len(text.split()) for text in texts)
    try:
        completion = int(body.get("max_completion_tokens", body.get("max_tokens")))
    except (TypeError, ValueError):
        completion = 16
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small writes, as events are, must not wait for each other.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the edge logs."""

    def do_GET(self) -> None:
        self.send_json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in ("small-1", "large-1")]})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if "chunked" in self.headers.get("transfer-encoding", ""):
            raw = self.read_chunks()
        else:
            raw = self.rfile.read(length)
        try:
            body = json.loads(raw)
            usage = usage_of(body)
            model = str(body["model"])
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            self.send_error_body(400, f"not a request for a completion: {error!r}")
            return
        behaviour = self.headers.get("x-upstream", "")
        if behaviour == "error":
            self.send_error_body(500, "the server had an error")
        elif behaviour == "hang" and not body.get("stream"):
            self.wait_for_hang_up()
        elif not model.startswith(("small-", "large-")):
            self.send_error_body(404, f"the model {model} does not exist")
        elif body.get("stream"):
            tells = (body.get("stream_options") or {}).get("include_usage") and behaviour != "no-usage"
            self.send_events(model, usage if tells else None, behaviour)
        else:
            answer = {
                "object": "chat.completion",
                "model": model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
            }
            if behaviour != "no-usage":
                answer["usage"] = usage
            self.send_json(200, answer, behaviour)

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send_error_body(self, status: int, message: str) -> None:
        self.send_json(status, {"error": {"message": message, "type": "upstream", "code": None}})

    def send_json(self, status: int, body: dict, behaviour: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        if "gzip" in self.headers.get("accept-encoding", ""):
            self.send_header("content-encoding", "gzip")
            data = gzip.compress(data)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if behaviour == "break":
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def send_events(self, model: str, usage: dict | None, behaviour: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        event = {"object": "chat.completion.chunk", "model": model, "usage": None}
        self.send_event({**event, "choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": None}]})
        if behaviour == "hang":
            self.wait_for_hang_up()
        if behaviour in ("break", "hang"):
            self.close_connection = True
            return
        self.send_event({**event, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if usage:
            self.send_event({**event, "choices": [], "usage": usage})
        self.send_chunk(b"data: [DONE]\n\n")
        self.send_chunk(b"")

    def send_event(self, event: dict) -> None:
        self.send_chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def wait_for_hang_up(self) -> None:
        self.close_connection = True
        self.connection.settimeout(HANG_SECONDS)
        try:
            self.rfile.read(1)
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: clients that hang up are what it is for."""


def main() -> None:
    args = argparse.ArgumentParser(description="Stands in for a service of language models.")
    args.add_argument("--port", type=int, default=9000, help="on 127.0.0.1 (default: 9000)")
    server = Server(("127.0.0.1", args.parse_args().port), Handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
