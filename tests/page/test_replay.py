"""The page that `tollgate replay --html` writes, as a file, in a real browser."""

import base64
import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from conftest import CONTRAST, HOSTILE, PICTURES
from tollgate import PATIENCE, binary, environment, write_policy

POLICY = """
    domain: replayed
    tables:
      - name: calls
        key: [tenant]
        rows: { all: [{ per_minute: 5 }] }
      - name: trials
        key: [tenant]
        shadow: true
        rows: { all: [{ per_minute: 1 }] }
"""

MAPPING = """
    descriptor: { tenant: $tenant }
    skip: [{ $path: "/healthz*" }]
"""

BEGIN = datetime(2026, 3, 2, 14, tzinfo=timezone.utc)

# What may stand in a header: markup, the ends of a line and of an attribute, and what changes how other text looks.
STRANGE = f"{HOSTILE}'\"\r\n\x1b[31m\u202eevil{'x' * 40}"


def line(seconds, tenant, path="/", *, is_whole=False):
    at = (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="seconds" if is_whole else "milliseconds")
    told = {"start_time": at.replace("+00:00", "Z"), "method": "GET", "path": path, "status": 200, "duration": 3, "tenant": tenant}
    return json.dumps(told)


def lines(*, is_whole=False):
    """An hour: every second minute `acme` sends 8 at once, of which 5 pass; once a strange one sends 10; 50 send one."""
    calls = [(120 * burst + number / 10, "acme") for burst in range(30) for number in range(8)]
    calls += [(600 + number / 10, STRANGE) for number in range(10)]
    calls += [(30 + 60 * number, f"quiet-{number}") for number in range(50)]
    told = [line(seconds, tenant, is_whole=is_whole) for seconds, tenant in sorted(calls)]
    return [*told, line(3550, "acme", "/healthz"), f"{HOSTILE}\x1b[2J no line of this log"]


@pytest.fixture
def replay(tmp_path):
    """Replays these lines, and returns the URL of the page."""

    def replayed(*text, against=None, flags=()):
        policy, mapping = write_policy(tmp_path, POLICY), write_policy(tmp_path, MAPPING, "mapping.yaml")
        log, page = tmp_path / "access.log", tmp_path / "report.html"
        log.write_text("\n".join(text) + "\n", encoding="utf-8")
        command = [binary(), "replay", "--config", policy, "--map", mapping, "--html", page, *flags, log]
        if against is not None:
            command += ["--against", write_policy(tmp_path, against, "against.yaml")]
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stderr
        return page.as_uri()

    return replayed


@pytest.fixture
def page(browser, replay):
    browser.size(1200, 900)
    browser.open(replay(*lines()))
    return browser


def focus_on(page, selector):
    """Presses Tab until an element has the focus that matches."""
    for _ in range(50):
        page.press("Tab")
        if page.ask(f"document.activeElement.matches({json.dumps(selector)})"):
            return
    raise AssertionError(f"no Tab leads to {selector}")


def test_the_page_says_first_what_came_of_it(page):
    # 30 x 3 of acme, 5 of the strange one.
    assert page.text(".sentence") == "Of 300 requests in 58 min, 95 (31.67 %) would have been denied; 2 of 52 keys."
    assert page.ask("document.title") == "Replay: replayed – tollgate"
    assert "they neither retry nor slow down" in page.text("main")
    read = page.text("section[aria-labelledby=read-title]").split("\n")
    facts = {"Lines": 302, "Lines that could not be read": 1, "Left out by the mapping": 1, "Requests decided": 300}
    for name, number in facts.items():
        assert read[read.index(name) + 1] == str(number), name


def test_it_asks_for_nothing_but_itself(page):
    asked = [url for url in page.requests if not url.startswith("data:")]
    assert len(asked) == 1 and asked[0].endswith("/report.html")
    assert page.ask("performance.getEntriesByType('resource').filter(({ name }) => !name.startsWith('data:')).length") == 0
    # Nothing that is not in the page may run or be looked at, even if it got into it.
    page.ask("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.harmed = 3' }))")
    assert page.ask("window.harmed") is None
    assert "script-src" in page.errors.pop()["text"]


def test_what_clients_send_is_text(page):
    assert page.ask("window.harmed") is None
    assert page.ask("document.querySelectorAll('main img, main script, main iframe, [onerror]').length") == 0
    shown = page.ask("[...document.querySelectorAll('.keys bdi')].map((value) => value.textContent)")
    assert any(text.startswith(f"{HOSTILE}'\"\\r\\n\\u{{1b}}[31m\\u{{202e}}evil") for text in shown), shown
    assert HOSTILE in page.ask("document.querySelector('section[aria-labelledby=read-title]').textContent")
    assert not any(c in page.ask("document.body.innerHTML") for c in "\u202e\x1b\r")


def test_rows_have_their_counts_and_those_in_shadow_are_marked(page):
    cells = "[...document.querySelectorAll('.rows tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    assert page.ask(cells) == [
        ["calls"],
        ["all", "300", "95", "31.67 %", "", ""],
        ["5 per minute", "300", "95", "31.67 %", "52", "2"],
        ["trials"],
        # Each burst but its first request: 30 x 7 and 9.
        ["all shadow", "300", "219", "73.00 %", "", ""],
        ["1 per minute", "300", "219", "73.00 %", "52", "2"],
    ]
    # acme needed 8, the strange one 10, all others 1.
    assert page.text(".needed").split() == "Size needed, of 5 Keys size share 50 % 1 20 % 99 % 10 200 % 99.9 % 10 200 % all 10 200 %".split()


def test_a_key_is_opened_to_its_minutes_by_keyboard_alone(page):
    focus_on(page, ".keys summary")
    details = "document.querySelector('.keys details')"
    assert not page.ask(f"{details}.open")
    page.press("Enter")
    assert page.ask(f"{details}.open")
    told = page.text(".keys details")
    assert "acme" in told and "90" in told.split() and "3 denials on end" in told
    assert "2026-03-02 14:00:00 UTC" in told and "2026-03-02 14:58:00 UTC" in told
    page.press("Tab")
    assert page.ask(f"document.activeElement === {details}.querySelector('.plot')")
    page.press("ArrowRight")
    assert page.text(".keys .readout") == "2026-03-02 14:00 UTC: 0 admitted, 3 denied"
    page.press("End")
    assert page.text(".keys .readout") == "2026-03-02 14:58 UTC: 5 admitted, 3 denied"
    page.press("ArrowLeft")
    assert page.text(".keys .readout") == "2026-03-02 14:57 UTC: 0 admitted, 0 denied"
    page.press("Tab")
    assert page.text(".keys .readout") == "From the first denial on, in UTC"


def test_without_scripts_it_tells_the_same(browser, replay):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(replay(*lines()))
    assert browser.text(".sentence").startswith("Of 300 requests")
    focus_on(browser, ".keys summary")
    browser.press("Enter")
    assert "First denial" in browser.text(".keys details")
    assert browser.ask("document.querySelectorAll('.plot[tabindex]').length") == 0


def test_pictures_have_names_and_say_what_they_show(page):
    page.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    pictures = [node for node in tree if not node["ignored"] and node["role"]["value"] in ("image", "img")]
    assert len(pictures) == page.ask("document.querySelectorAll('.plot').length")
    for picture in pictures:
        assert picture["name"]["value"] and picture["description"]["value"]
    told = [picture["description"]["value"] for picture in pictures]
    assert any("Of the size 5 needed: 50 keys up to 20 %, 2 keys up to 200 %." in text for text in told), told
    assert any("At most 19 requests per minute, at 2026-03-02 14:10:00." in text for text in told), told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 360, 740)])
def test_it_is_legible_and_nothing_overflows(page, scheme, name, width, height):
    page.prefer(color_scheme=scheme)
    page.size(width, height)
    page.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    paper = page.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(16, 20, 23)") == (scheme == "dark"), paper
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask(CONTRAST) == []
    page.picture(PICTURES / f"test-replay-{name}-{scheme}.png")


def test_on_paper_the_keys_are_open_and_the_paper_is_white(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    facts = "document.querySelector('.keys .facts').checkVisibility({ contentVisibilityAuto: true })"
    assert not page.ask("document.querySelector('.keys details').open")
    page.until(facts)
    assert page.ask("document.querySelector('.keys .plot').getBoundingClientRect().height") > 50
    assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    page.call("Emulation.setEmulatedMedia", media="")
    page.until(f"!{facts}")
    printed = base64.b64decode(page.call("Page.printToPDF", printBackground=False)["data"])
    assert printed.startswith(b"%PDF-") and printed.rstrip().endswith(b"%%EOF")
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "test-replay.pdf").write_bytes(printed)


def test_whole_seconds_give_two_bounds_side_by_side(browser, replay):
    browser.size(1200, 900)
    browser.open(replay(*lines(is_whole=True)))
    assert "whole seconds" in browser.text(".bounds caption")
    rows = browser.ask("[...document.querySelectorAll('.bounds tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))")
    (_, at_once, *_), (_, spread, *_) = rows
    assert [name for name, *_ in rows] == ["all at once", "spread over the second"]
    # A second is too short for a limit of 5 per minute to tell them apart.
    assert at_once == spread == "95"
    assert browser.text(".sentence") == "Of 300 requests in 58 min, 95 (31.67 %) would have been denied; 2 of 52 keys."


def test_another_policy_is_held_against_this_one(browser, replay):
    # It denies one more of each burst, and has no trials.
    other = """
    domain: replayed
    tables:
      - { name: calls, key: [tenant], rows: { all: [{ per_minute: 4 }] } }
    """
    browser.open(replay(*lines(), against=other))
    section = "section[aria-labelledby=against-title]"
    assert browser.text(f"{section} table").split("\n")[-1].split("\t") == ["all requests", "126", "0", "31", "95"]
    rows = browser.ask(f"[...document.querySelectorAll('{section} table')][1].tBodies[0].innerText.split('\\n')")
    assert rows == ["calls / all\t95\t126", "trials / all\t219\t–"]
    assert "No longer denied most" in browser.text(section) and "Newly" not in browser.text(f"{section} h3")
    assert browser.ask(f"document.querySelectorAll('{section} .keys > li').length") == 2


def test_suggestions_have_what_they_deny_and_the_sizes_at_other_rates(browser, replay):
    browser.size(1200, 900)
    browser.open(replay(*lines(), flags=["--suggest=90%"]))
    section = "section[aria-labelledby=suggested-title]"
    told = browser.text(section)
    assert "with which 90 % of the keys would never have been denied" in told and "judged alone" in told
    of_calls = f"document.querySelector('{section} .near-bucket')"
    cells = f"[...{of_calls}.querySelectorAll('table')].map((table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.innerText)))"
    focus_on(browser, f"{section} summary")
    assert not browser.ask(f"{of_calls}.querySelector('details').open")
    browser.press("Enter")
    limits, sizes = browser.ask(cells)
    # One token spares the 50 that ask once, at any rate: of acme's bursts the first passes, or of all of them.
    assert limits == [["1 at 5 per minute", "219\n73.00 %", "2"], ["1 at 8 per day or less", "248\n82.67 %", "2"]]
    # acme sends 240, and the strange one 10 in a second.
    assert sizes[0] == ["8 per day", "1", "240"] and ["5 per minute (now)", "1", "10"] in sizes
    told = browser.ask(f"{of_calls}.querySelector('.plot desc').textContent")
    assert "At 5 per minute, as now, 90 % of the keys need 1, all 10." in told
    # The line of all keys falls from left to right, and stands above the other.
    heights = f"['all', 'part'].map((line) => {of_calls}.querySelector(`path.${{line}}`).getBBox()).map(({{ y, height }}) => [y, height])"
    (top, height), (below, _) = browser.ask(heights)
    assert height > 500 and top < below


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width"), [("desktop", 1280), ("phone", 360)])
def test_suggestions_are_legible_and_nothing_overflows(browser, replay, scheme, name, width):
    browser.prefer(color_scheme=scheme)
    browser.size(width, 800)
    browser.open(replay(*lines(is_whole=True), flags=["--suggest=90%"]))
    browser.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.ask("document.querySelector('section[aria-labelledby=suggested-title]').scrollIntoView()")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(CONTRAST) == []
    browser.picture(PICTURES / f"test-replay-suggested-{name}-{scheme}.png")


def test_a_log_of_which_nothing_is_denied(browser, replay):
    browser.open(replay(*[line(60 * number, "quiet") for number in range(10)]))
    assert browser.text(".sentence") == "None of 10 requests in 9 min would have been denied; there was 1 key."
    assert "No key was denied." in browser.text("section[aria-labelledby=keys-title]")
