"""A store for replicas to share: Valkey, on a port of its own, ended by its own process."""

import os
import shutil
import socket
import subprocess

import pytest

from tollgate import eventually


def _program():
    found = os.environ.get("TOLLGATE_VALKEY") or shutil.which("valkey-server") or shutil.which("redis-server")
    if not found and os.environ.get("TOLLGATE_REQUIRE_TOOLS") != "1":
        pytest.skip("no valkey-server on this machine: run tests/setup.sh")
    assert found, "no valkey-server: run tests/setup.sh"
    return found


def _free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Store:
    def __init__(self, folder):
        self._folder = folder
        self._port = _free_port()
        self.url = f"redis://127.0.0.1:{self._port}"
        self._process = None
        self.start()

    def start(self):
        """With nothing in it; after `kill` where it was."""
        self._process = subprocess.Popen(
            [_program(), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            + ["--dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert eventually(self._listens), "valkey-server does not listen"

    def _listens(self):
        assert self._process.poll() is None, "valkey-server has ended"
        with socket.socket() as ours:
            return ours.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self):
        self._process.kill()
        self._process.wait()
