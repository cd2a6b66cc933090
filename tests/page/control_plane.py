"""The control plane of tests/xds, on a port of its own, ended by its own process."""

import json
import os
import subprocess

import pytest


def _program():
    found = os.environ.get("TOLLGATE_XDS_SERVER")
    if not found and os.environ.get("TOLLGATE_REQUIRE_TOOLS") != "1":
        pytest.skip("no control plane on this machine: run tests/setup.sh")
    assert found, "no control plane: run tests/setup.sh"
    return found


class ControlPlane:
    def __init__(self):
        self._process = subprocess.Popen(
            [_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.address = json.loads(self._process.stdout.readline())["listening"]

    def set(self, version, *resources):
        self._process.stdin.write(json.dumps({"version": version, "resources": resources}) + "\n")
        self._process.stdin.flush()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
