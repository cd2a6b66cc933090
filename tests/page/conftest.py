"""Fixtures: a running server with calls behind it, and a browser that looks at it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "wire")]

from browser import Browser  # noqa: E402
from messages import one  # noqa: E402
from tollgate import Tollgate, write_policy  # noqa: E402

HOSTILE = "<img src=x onerror=window.harmed=1><script>window.harmed=2</script>"

# So many a day, so that time does not matter; and slots.
POLICY = """
    domain: d
    tables:
      - name: calls
        key: [who]
        select: kind
        rows:
          small: [{ per_day: 5 }]
          otherwise: [{ per_day: 1000 }]
      - name: jobs
        when: { job: { present: true } }
        key: [who]
        rows: { always: [{ concurrent: 2, hold: 1h }] }
"""


@pytest.fixture
def server(tmp_path):
    """After 5 admitted and 4 denied calls of each of two tenants, one of them hostile."""
    running = Tollgate(write_policy(tmp_path, POLICY))
    try:
        for who in ["acme", HOSTILE]:
            for _ in range(9):
                running.ask(one("d", who=who, kind="small"))
        yield running
    finally:
        running.close()


def chromium():
    found = os.environ.get("TOLLGATE_CHROMIUM") or shutil.which("chromium")
    if not found and os.environ.get("TOLLGATE_REQUIRE_TOOLS") != "1":
        pytest.skip("no chromium on this machine: run tests/setup.sh")
    assert found, "no chromium: run tests/setup.sh"
    return found


@pytest.fixture
def browser(tmp_path):
    running = Browser(chromium(), tmp_path / "profile")
    yield running
    running.close()
    assert running.errors == [], "what the page complained about"


@pytest.fixture
def page(browser, server):
    """The page, once it shows something."""
    browser.size(1280, 900)
    browser.open(f"http://{server.http_address}/")
    browser.until("document.querySelector('#connection').textContent === 'Live'")
    return browser
