"""A headless Chromium, driven by its DevTools protocol over a pipe: no port, and no package."""

import base64
import json
import os
import select
import subprocess
import time

# A browser that has a busy two-core machine to itself never needs this long.
PATIENCE = 60.0

FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    # The page is our own, and root has no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    # Nothing but the server under test is asked for anything.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class Browser:
    """One Chromium with one page."""

    def __init__(self, program, profile):
        ours_out, theirs_in = os.pipe(), os.pipe()

        def take_pipes():
            # Chromium reads commands from 3 and writes answers to 4. First out of the way: they may be 3 or 4.
            reads, writes = os.dup(theirs_in[0]), os.dup(ours_out[1])
            reads, writes = _above(reads), _above(writes)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=take_pipes,
        )
        os.close(theirs_in[0])
        os.close(ours_out[1])
        self._reads, self._writes = ours_out[0], theirs_in[1]
        self._unread = b""
        self._number = 0
        self._session = None
        self.errors = []
        self.requests = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """One command, and its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _read(self, deadline):
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._reads], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._reads, 1 << 16) if ready else b""
            if not piece:
                raise AssertionError(f"Chromium ended, or said nothing for {PATIENCE} s")
            self._unread += piece
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        """What the page asks for, and what it complains about: exceptions, and what its Content-Security-Policy refused."""
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(event["params"]["exceptionDetails"])
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["level"] == "error" and entry["source"] != "network":
                self.errors.append(entry)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def ask(self, expression):
        """What an expression is, in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, expression):
        """Asks until the expression holds, and returns what it is then."""
        deadline = time.monotonic() + PATIENCE
        while True:
            value = self.ask(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"never: {expression}\n{self.text('body')}"
            time.sleep(0.05)  # of the asking, not of what is asked about

    def text(self, selector):
        return self.ask(f"document.querySelector({json.dumps(selector)})?.innerText")

    def press(self, key, text=None):
        codes = {"Tab": 9, "Enter": 13, "End": 35, "ArrowLeft": 37, "ArrowRight": 39}
        text = {"Enter": "\r"}.get(key, text)
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        down = {**common, "text": text} if text else common
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def size(self, width, height, scale=1):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )  # fmt: skip

    def prefer(self, **features):
        """Media features, as `color_scheme="dark"`."""
        told = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def picture(self, path, whole=True):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._reads)
        os.close(self._writes)


def _above(number):
    """The same file under a number above those that Chromium takes."""
    while number <= 4:
        number = os.dup(number)
    return number
