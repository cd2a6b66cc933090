"""The page for a person, in a real browser."""

import pytest

from conftest import CONTRAST, HOSTILE, PICTURES, exhaust, set_entries
from messages import entries, one, request


def test_the_page_shows_what_was_decided(page):
    assert page.text("#admitted") == "10"
    assert page.text("#denied") == "8"
    rows = page.text("#rows")
    assert "small" in rows and "calls" in rows and "8" in rows.split()


def test_the_version_of_the_policy_is_the_one_in_force(page):
    version = page.ask("fetch('/config').then((answer) => answer.json()).then((config) => config.version)")
    assert len(version) == 64 and page.text("#policy-version") == version[:12]
    # Each place on the page is filled by its own name.
    twice = "[...document.querySelectorAll('[id]')].filter((e, i, all) => all.findIndex((f) => f.id === e.id) !== i)"
    assert page.ask(f"{twice}.map((e) => e.id)") == []


def test_the_page_goes_on_by_itself(page, server):
    server.ask(one("d", who="acme", kind="small"))
    page.until("document.querySelector('#denied').textContent === '9'")


def test_keys_at_their_limit_are_listed_with_what_is_left(page):
    near = page.text("#near")
    assert "acme" in near and "0 of 5" in near and "5 per day" in near
    assert page.ask("document.querySelectorAll('#near li.is-over').length") == 2


def test_keys_denied_most_are_listed_and_those_in_shadow_apart(page, server):
    assert page.text("#top-note").startswith("last ") and page.ask("document.querySelector('#top-none').hidden")
    first = "document.querySelector('#top li').innerText"
    assert HOSTILE in page.text("#top") and "5 per day, calls / small" in page.text("#top") and "4" in page.ask(first).split()
    assert page.ask("document.querySelector('#top-shadow-part').hidden")
    server.ask(one("d", who="acme", kind="small"))
    page.until(f"{first}.includes('acme') && {first}.includes('5')")
    assert page.ask("document.querySelector('#top button').getAttribute('aria-label')") == "Explain who acme"
    page.ask("document.querySelector('#top button').click()")
    assert page.until("document.querySelector('#answer .verdict')?.innerText").startswith("Would be denied now: calls / small")
    for _ in range(3):
        server.ask(one("d", trial="t\x1b"))
    page.until("!document.querySelector('#top-shadow-part').hidden")
    assert "t\\u{1b}" in page.text("#top-shadow") and "2" in page.text("#top-shadow").split()
    assert "shadow" in page.text("#top-shadow") and "trial" not in page.text("#top")
    page.ask("document.querySelector('#top-shadow button').click()")
    page.until("document.querySelector('#answer .verdict').innerText === 'Would be admitted now. In shadow, it would be denied: trials / all, 1 per day.'")


def test_leases_are_listed_with_their_age_the_oldest_first(page, server):
    assert page.text("#leases") == "" and "No slot is held" in page.text("#leases-none")
    assert "envoy/leases.yaml" in page.text("section[aria-labelledby=leases-title]")
    server.ask(one("d", who="acme", job="1"))
    page.until("document.querySelectorAll('#leases li').length === 1")
    server.ask(one("d", who="other", job="1"))
    page.until("document.querySelectorAll('#leases li').length === 2")
    first, second = page.ask("[...document.querySelectorAll('#leases li')].map((li) => li.innerText)")
    assert "acme" in first and "jobs" in first and "held" in first and "left" in first
    assert "other" in second
    assert page.text("#leases-note") == "2"
    # It grows by itself.
    age = "document.querySelector('#leases li b').textContent"
    before = page.ask(age)
    page.until(f"{age} !== {before!r}")


def test_what_would_change_how_the_page_looks_is_written_out(page, server):
    exhaust(server, "a\r\n\u202eevil\x1b")
    page.until("document.querySelector('#near').innerText.includes('evil')")
    assert "a\\u{d}\\u{a}\\u{202e}evil\\u{1b}" in page.text("#near")
    assert not any(c in page.ask("document.querySelector('#near').innerHTML") for c in "\u202e\x1b\r")


def test_a_network_of_the_list_is_explained_by_one_of_its_addresses(page, server):
    for _ in range(6):
        server.ask(one("d", remote_address="2001:db8:1:2:3::4"))
    page.until("document.querySelector('#near').innerText.includes('2001:db8:1:2::/64')")
    page.ask("[...document.querySelectorAll('#near li')].find((li) => li.innerText.includes('2001:')).querySelector('button').click()")
    page.until("!!document.querySelector('#answer .verdict')")
    assert page.text("#answer .verdict").startswith("Would be denied")


def test_what_clients_send_is_text(page):
    assert HOSTILE in page.text("#near")
    set_entries(page, who=HOSTILE, kind=HOSTILE, strange=HOSTILE)
    page.press("Enter")
    page.until("!!document.querySelector('#answer .matched')")
    assert page.ask("window.harmed") is None
    assert page.ask("document.querySelectorAll('main img, main script').length") == 0


def test_a_denial_is_explained_by_keyboard_alone(page):
    # In order: past the link that skips there, to the form, and Enter in a field sends it.
    page.ask("document.querySelector('#domain').focus()")
    for text in ["who", "acme", None, "kind", "small"]:
        page.press("Tab")
        if text is not None:
            page.type(text)
    page.press("Enter")
    page.until("!!document.querySelector('#answer .verdict')")
    assert page.text("#answer .verdict").startswith("Would be denied now: calls / small, 5 per day")
    assert "0 of 5" in page.text("#answer")
    assert page.ask("document.activeElement.value") == "small", "the focus stays where it is"


def test_a_key_of_the_list_is_explained_by_its_button(page):
    page.ask("[...document.querySelectorAll('#near li')].find((li) => li.innerText.includes('acme')).querySelector('button').click()")
    page.until("!!document.querySelector('#answer .verdict')")
    assert page.text("#answer .verdict").startswith("Would be denied")


def test_a_key_of_a_table_with_conditions_is_explained_with_what_they_ask_for(page, server):
    for _ in range(4):
        server.ask(one("d", remote_address="198.51.100.77", action="login", method="POST"))
    page.until("document.querySelector('#near').innerText.includes('198.51.100.77')")
    page.ask("[...document.querySelectorAll('#near li')].find((li) => li.innerText.includes('logins')).querySelector('button').click()")
    page.until("!!document.querySelector('#answer .verdict')")
    assert page.text("#answer .verdict").startswith("Would be denied now: logins / all")


def test_a_key_of_a_later_entry_is_explained_with_those_before_it(page, server):
    shop, unread, route = (("generic_key", value) for value in ["shop", "unread", "checkout"])
    for _ in range(3):
        server.ask(request(entries(shop, unread, route), domain="d"))
    page.until("document.querySelector('#near').innerText.includes('checkout')")
    page.ask("[...document.querySelectorAll('#near li')].find((li) => li.innerText.includes('routes')).querySelector('button').click()")
    page.until("!!document.querySelector('#answer .verdict')")
    assert page.text("#answer .verdict").startswith("Would be denied now: routes / all")
    sent = page.ask("[...document.querySelectorAll('#entries input')].map((input) => input.value)")
    assert sent == ["generic_key", "any", "generic_key", "", "generic_key", "checkout"]
    assert "Not read, since an equal key comes before it: generic_key=." in page.text("#answer")
def explained_from_the_list(page, table, who):
    """Presses Explain at a key of the list, and returns the verdict."""
    at = f"[...document.querySelectorAll('#near li')].find((li) => li.innerText.includes('{table}') && li.innerText.includes('{who}'))"
    page.until(f"!!{at}")
    page.ask("document.querySelector('#answer').replaceChildren()")
    page.ask(f"{at}.querySelector('button').click()")
    return page.until("document.querySelector('#answer .verdict')?.innerText")


def filled_in(page):
    rows = "[...document.querySelectorAll('#entries .entry')]"
    return page.ask(f"{rows}.map((row) => [...row.querySelectorAll('input')].map((input) => input.value).join('='))")


def test_a_key_of_a_table_for_a_network_and_one_of_an_override_are_explained_as_denied(page, server):
    for _ in range(4):
        server.ask(one("d", who="inner", remote_address="10.7.7.7"))
        server.ask(one("d", who="large", region="eu-1", kind="small"))
    verdict = explained_from_the_list(page, "internal / all", "inner")
    assert verdict.startswith("Would be denied now: internal / all, 3 per day")
    assert filled_in(page) == ["who=inner", "remote_address=10.0.0.1"]
    verdict = explained_from_the_list(page, "4 per day, calls / small", "large")
    assert verdict.startswith("Would be denied now: calls / small, 4 per day")
    assert "0 of 4" in page.text("#answer")
    assert filled_in(page) == ["who=large", "kind=small", "region=eu-"]
    assert "Assumed" not in page.text("#answer")


def test_what_is_assumed_of_a_call_is_told(page, server):
    exhaust(server, "x" * 200)
    assert explained_from_the_list(page, "calls / small", "xxx") == "Would be denied now: calls / small, 5 per day."
    assert "Assumed of the call: it matches this bucket; its entries are not known in full" in page.text("#answer")
    assert filled_in(page) == ["="]


def test_what_is_blocked_is_explained_as_that(page):
    set_entries(page, who="new", kind="banned")
    page.press("Enter")
    page.until("!!document.querySelector('#answer .matched')")
    assert page.text("#answer .verdict") == "Would be denied now: calls / banned, blocked."
    for says in ["nothing passes", "The client reads: Requests like this are blocked"]:
        assert says in page.text("#answer")
    assert page.ask("[...document.querySelectorAll('#answer rect')].every((of) => Number(of.getAttribute('width')) >= 0)")


def test_looking_charges_nothing(page, server):
    for _ in range(3):
        set_entries(page, who="new", kind="small")
        page.press("Enter")
        page.until("document.querySelector('#answer .verdict')?.dataset.state === 'good'")
    assert [server.ask(one("d", who="new", kind="small")).overall_code for _ in range(6)] == [1] * 5 + [2]


def test_everything_that_takes_the_focus_has_a_name(page):
    nameless = """[...document.querySelectorAll('a, button, input, select, [tabindex="0"]')].filter((element) =>
        !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length)).length"""
    assert page.ask(nameless) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 360, 740)])
def test_it_is_legible_and_nothing_overflows(page, scheme, name, width, height):
    page.prefer(color_scheme=scheme)
    page.size(width, height)
    set_entries(page, who=HOSTILE * 3, kind="small")
    page.press("Enter")
    page.until("!!document.querySelector('#answer .verdict')")
    paper = page.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(16, 20, 23)") == (scheme == "dark"), paper
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask("Math.min(...[...document.querySelectorAll('#entries input')].map((field) => field.offsetWidth))") > 90
    assert page.ask(CONTRAST) == []
    page.picture(PICTURES / f"test-{name}-{scheme}.png")


def test_it_stands_still_for_those_who_ask_for_that(page):
    page.prefer(reduced_motion="reduce")
    assert page.ask("import('/page/dom.js').then(({ isCalm }) => isCalm.matches)")
    drawn_at = "import('/page/bars.js').then(({ drawnAt }) => drawnAt)"
    drawn = page.ask(drawn_at)
    page.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.ask(drawn_at) == drawn


def test_a_lost_server_is_shown_and_found_again(page, server):
    # At once: a moment later the page has asked why, and says that too.
    lost, connection = page.ask("""
        import('/page/connection.js').then(({ source }) => {
          source.close();
          source.dispatchEvent(new Event("error"));
          return ["#lost", "#connection"].map((of) => document.querySelector(of).innerText);
        })
    """)
    assert lost.startswith("Lost the server at ")
    assert connection == "Lost"
    page.until("document.querySelector('#connection').textContent === 'Live'")
    assert page.ask("document.querySelector('#lost').hidden")
    server.terminate()
    assert server.wait() == 0, "an open page does not hold it up"
    page.until("document.querySelector('#connection').textContent === 'Lost'")
    assert page.ask("document.body.classList.contains('is-lost')")
