"""The page over a store that replicas share."""

import pytest

from conftest import PICTURES, exhaust, explained, watch
from messages import one

# What becomes of admissions that are charged in the store ahead of the requests.
EVENTS = ["charged", "spent", "given_back", "lost"]

# Whether the list of keys near their limit tells what is prepaid after 930 calls.
IS_PREPAID_TOLD = """(() => {
  const numberOf = (event) => Number(document.querySelector(`#prepaid-${event}`).innerText.replaceAll(",", ""));
  const unspent = numberOf("charged") - numberOf("spent") - numberOf("given_back");
  return numberOf("spent") > 800 && document.querySelector("#near").innerText.includes(`, ${unspent} prepaid here`);
})()"""


@pytest.fixture
def over(store, start):
    """Starts a server over the store. Nobody's deadline is the subject, and the machine may be busy."""

    def one_more(*flags):
        running, _ = start("--store", store.url, "--store-timeout", "10s", *flags)
        return running

    return one_more


def test_what_a_replica_has_decided_is_shown_and_explained(over, browser):
    server, other = over(), over()
    exhaust(other, "globex")
    exhaust(server, "acme")
    page = watch(browser, server)
    assert page.text("#store-state") == "shared, connected"
    near = page.text("#near")
    assert "acme" in near and "0 of 5" in near
    assert "globex" not in near, "only what this process has seen"
    assert explained(page, who="globex", kind="small").startswith("Would be denied now: calls / small")
    assert "0 of 5" in page.text("#answer")
    assert explained(page, who="new", kind="small").startswith("Would be admitted")


def test_what_is_prepaid_is_told(over, browser):
    server = over("--store-prepaid", "10s")
    for _ in range(100):
        assert server.ask(one("d", who="acme", kind="large")).overall_code == 1
    page = watch(browser, server)
    page.until("document.querySelector('#replicas').innerText === '1 replica; counts since the start'")
    charged, spent, given_back, lost = [int(page.text(f"#prepaid-{event}")) for event in EVENTS]
    assert charged > spent > 50 and given_back == lost == 0
    assert explained(page, who="acme", kind="large").startswith("Would be admitted")
    assert "900 of 1,000" in page.text("#answer") and f"{charged - spent} of those left are prepaid here" in page.text("#answer")
    assert "prepaid here" not in page.text("#near"), "it is not near its limit"
    for _ in range(830):
        assert server.ask(one("d", who="acme", kind="large")).overall_code == 1
    page.until(IS_PREPAID_TOLD)
    page.picture(PICTURES / "test-prepaid.png")


def test_without_a_shared_store_nothing_is_said_of_one(page):
    assert page.ask("document.querySelector('#shared-store').hidden")


def test_looking_charges_nothing(over, browser):
    server = over()
    page = watch(browser, server)
    for _ in range(3):
        assert explained(page, who="new", kind="small").startswith("Would be admitted")
    assert [server.ask(one("d", who="new", kind="small")).overall_code for _ in range(6)] == [1] * 5 + [2]


def test_a_store_that_is_away_is_told_and_so_is_that_it_is_back(over, store, browser):
    server = over()
    page = watch(browser, server)
    assert page.text("#local-decisions") == "0"
    store.kill()
    # Whoever asks first notices.
    assert server.ask(one("d", who="late", kind="small")).overall_code == 1
    page.until("document.querySelector('#store-state').innerText === 'shared, unavailable: deciding locally'")
    assert page.ask("document.querySelector('#store-state').dataset.state") == "bad"
    page.until("document.querySelector('#local-decisions').innerText === '1'")
    assert explained(page, who="late", kind="small").startswith("Would be admitted")
    assert "4 of 5" in page.text("#answer"), "this replica's own count"
    page.prefer(color_scheme="dark")
    page.picture(PICTURES / "test-away.png")
    store.start()
    page.until("document.querySelector('#store-state').innerText === 'shared, connected'")
    assert explained(page, who="late", kind="small").startswith("Would be admitted"), "a new store is empty"
