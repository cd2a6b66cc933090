"""Runs the real binary: started on ports the system picks, stopped by its own process."""

import json
import os
import queue
import signal
import subprocess
import textwrap
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import grpc

from stubs import ratelimit, ratelimit_grpc

ROOT = Path(__file__).resolve().parents[2]
SHIPPED_POLICY = ROOT / "config" / "management-api.yaml"

# Long enough for a busy two-core machine; a healthy server needs a few milliseconds.
PATIENCE = 30.0


def binary():
    path = os.environ.get("TOLLGATE_BIN") or str(
        Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "tollgate"
    )
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no tollgate at {path}: run `bash tests/run.sh wire`, or set TOLLGATE_BIN")
    return path


def write_policy(folder, text, name="policy.yaml"):
    """A policy file of this text, which may be indented as a whole."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def eventually(condition):
    """Asks until it holds, for what the server does in its own time; gives up after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # of the asking, not of what is asked about
    return True


def environment():
    """Ours without the TOLLGATE_* twins of the flags, which would change what is tested.

    Nobody here has to notice first that a server ends.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    return {**ours, "TOLLGATE_DRAIN_DELAY": "0s"}


def run(*arguments, patience=PATIENCE):
    """Runs a command that ends by itself."""
    return subprocess.run(
        [binary(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience,
        env=environment(),
        check=False,
    )


@dataclass
class HttpAnswer:
    """What came back over plain HTTP, error statuses included."""

    status: int
    headers: dict
    body: str

    def json(self):
        return json.loads(self.body)


class Tollgate:
    """A running `tollgate serve`, and the ways to talk to it. Without a `config`, flags say where policies come from."""

    def __init__(self, config, *flags, http="127.0.0.1:0", grpc_at="127.0.0.1:0"):
        self._process = subprocess.Popen(
            [binary(), "serve", *(["--config", str(config)] if config else []), "--grpc", grpc_at]
            + ["--http", http, "--log-format", "json", *map(str, flags)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment(),
        )
        self.log = []
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            started = self.wait_for_log("started")
        except BaseException:
            self.close()
            raise
        self.grpc_address = started["grpc"]
        self.http_address = started["http"]
        self.channel = grpc.insecure_channel(
            self.grpc_address,
            options=[("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)],
        )
        self._should_rate_limit = ratelimit_grpc.RateLimitServiceStub(self.channel).ShouldRateLimit

    def _read_log(self):
        for line in self._process.stderr:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def wait_for_log(self, message):
        """The fields of the next log line with this message."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {message!r} in the log within {PATIENCE} s:\n{self.log_text()}") from None
            if line is None:
                raise AssertionError(f"tollgate ended before it logged {message!r}:\n{self.log_text()}")
            try:
                fields = json.loads(line)["fields"]
            except (ValueError, KeyError, TypeError):
                continue
            if fields.get("message") == message:
                return fields

    def log_text(self):
        return "".join(self.log)

    def ask(self, request, timeout=PATIENCE):
        """One ShouldRateLimit call."""
        return self._should_rate_limit(request, timeout=timeout)

    def ask_later(self, request, timeout=PATIENCE):
        """The same, as a call that is under way: it has `result` and `cancel`."""
        return self._should_rate_limit.future(request, timeout=timeout)

    def ask_bytes(self, message, method="ShouldRateLimit", timeout=PATIENCE):
        """One call whose message is sent as it stands."""
        call = self.channel.unary_unary(
            f"/envoy.service.ratelimit.v3.RateLimitService/{method}",
            request_serializer=bytes,
            response_deserializer=ratelimit.RateLimitResponse.FromString,
        )
        return call(message, timeout=timeout)

    def http(self, path, body=None, headers=None):
        """GET, or POST where there is a body."""
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(f"http://{self.http_address}{path}", data=data, headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return HttpAnswer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return HttpAnswer(error.code, dict(error.headers), error.read().decode())

    def alive(self):
        return self._process.poll() is None

    def terminate(self):
        """SIGTERM, as a supervisor sends it."""
        self._process.send_signal(signal.SIGTERM)

    def hang_up(self):
        """SIGHUP, which has it read its policy again."""
        self._process.send_signal(signal.SIGHUP)

    def interrupt(self):
        """SIGINT, as Ctrl-C sends it."""
        self._process.send_signal(signal.SIGINT)

    def wait(self):
        """The exit code, once it has ended by itself."""
        code = self._process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code

    def close(self):
        """Ends it whatever state it is in."""
        channel = getattr(self, "channel", None)
        if channel is not None:
            channel.close()
        if self.alive():
            self.terminate()
            try:
                self._process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(timeout=PATIENCE)
        self._process.stderr.close()
