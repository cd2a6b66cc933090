"""Fixtures: running servers, each ended after the test or the module that asked for it."""

import itertools

import pytest

from tollgate import SHIPPED_POLICY, Tollgate, write_policy


@pytest.fixture
def serve(tmp_path):
    """Starts a server with this policy text, or file; as many as a test asks for."""
    running = []
    names = itertools.count(1)

    def start(policy, *flags, **addresses):
        if isinstance(policy, str):
            policy = write_policy(tmp_path, policy, f"policy-{next(names)}.yaml")
        server = Tollgate(policy, *flags, **addresses)
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def management_api():
    """The shipped policy, served once: tests keep apart by their tenants (see `tenant`). `/json` is for everybody."""
    server = Tollgate(SHIPPED_POLICY, "--http-json", "on")
    yield server
    server.close()


_tenants = itertools.count(1)


@pytest.fixture
def tenant():
    """A tenant that no other test has used."""
    return f"tenant-{next(_tenants)}"
