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
from store import Store  # noqa: E402
from tollgate import Tollgate, write_policy  # noqa: E402

# To be looked at.
PICTURES = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target")) / "page"

HOSTILE = "<img src=x onerror=window.harmed=1><script>window.harmed=2</script>"

# The texts of a page that are hard to read, with their contrast.
CONTRAST = """(() => {
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const paper = (element) => {
    for (; element; element = element.parentElement) {
      const color = numbers(getComputedStyle(element).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const ink = (element) => getComputedStyle(element)[element.closest('svg') ? 'fill' : 'color'];
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const pair = [light(numbers(ink(element)).slice(0, 3)), light(paper(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
})()"""

# So many a day, so that time does not matter; and slots.
POLICY = """
    domain: d
    tables:
      - name: calls
        key: [who]
        select: kind
        rows:
          small: [{ per_day: 5 }]
          banned: blocked
          default: [{ per_day: 1000 }]
      - name: jobs
        when: { job: { present: true } }
        key: [who]
        rows: { all: [{ concurrent: 2, ttl: 1h }] }
      - name: logins
        when: { action: login, method: [PUT, POST] }
        key: [remote_address]
        rows: { all: [{ per_day: 3 }] }
      - name: internal
        when: { remote_address: { cidr: [10.0.0.0/8] }, job: { absent: true } }
        key: [who]
        rows: { all: [{ per_day: 3 }] }
      - name: trials
        key: [trial]
        shadow: true
        rows: { all: [{ per_day: 1 }] }
      - name: addresses
        key: [remote_address]
        rows: { all: [{ per_day: 5 }] }
      - name: routes
        when: { generic_key: { present: true } }
        key: ["generic_key[2]"]
        rows: { all: [{ per_day: 2 }] }
    overrides:
      - { table: calls, row: small, when: { who: large, region: eu-* }, buckets: [{ per_day: 4 }] }
"""


@pytest.fixture
def start(tmp_path):
    """Starts a server with this policy, in the file that is returned with it; as many as a test asks for."""
    running = []

    def one_more(*flags, policy=POLICY, **more):
        file = write_policy(tmp_path, policy)
        running.append(Tollgate(file, *flags, **more))
        return running[-1], file

    yield one_more
    for server in running:
        server.close()


@pytest.fixture
def store(tmp_path):
    running = Store(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def server(start):
    """After 5 admitted and 4 denied calls of each of two tenants, one of them hostile."""
    running, _ = start()
    for who in ["acme", HOSTILE]:
        exhaust(running, who)
    return running


def exhaust(server, who):
    """5 calls that are admitted, and 4 that are denied."""
    for _ in range(9):
        server.ask(one("d", who=who, kind="small"))


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


def watch(browser, server):
    """The page of a server, once it shows something."""
    browser.size(1280, 900)
    browser.open(f"http://{server.http_address}/")
    browser.until("document.querySelector('#connection').textContent === 'Live'")
    return browser


@pytest.fixture
def page(browser, server):
    return watch(browser, server)


def set_entries(page, **facts):
    """Writes a descriptor into the form, by the keyboard."""
    page.ask("document.querySelector('#clear').click()")
    for at, (key, value) in enumerate(facts.items()):
        if at > 0:
            page.ask("document.querySelector('#add').click()")
        page.type(key)
        page.press("Tab")
        page.type(value)


def explained(page, **facts):
    """What the page says of a descriptor."""
    page.ask("document.querySelector('#answer').replaceChildren()")
    set_entries(page, **facts)
    page.press("Enter")
    return page.until("document.querySelector('#answer .verdict')?.innerText")
