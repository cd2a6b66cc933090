"""What the page says of descriptor trees: their limits are windows, not slots."""

import pytest

from conftest import PICTURES, explained, watch
from messages import one

TREE = """
    domain: shop
    descriptors:
      - key: user
        rate_limit: { unit: year, requests_per_unit: 5 }
        descriptors:
          - { key: path, value: /free, rate_limit: { unlimited: true } }
          - { key: path, value: "/pool/*", share_threshold: true, rate_limit: { unit: year, requests_per_unit: 2 } }
      - { key: trial, shadow_mode: true, rate_limit: { unit: year, requests_per_unit: 1 } }
      - { key: never, rate_limit: { unit: year, requests_per_unit: 0 } }
      - { key: open }
"""


@pytest.fixture
def tree(start, browser):
    server, _ = start(policy=TREE)
    for _ in range(6):
        server.ask(one("shop", user="ann"))
    for number in range(3):
        server.ask(one("shop", user="bob", path=f"/pool/{number}"))
    for _ in range(2):
        server.ask(one("shop", trial="t"))
    server.ask(one("shop", never="n"))
    return watch(browser, server)


def test_windows_are_listed_with_what_is_left_and_when_they_end(tree):
    near = tree.text("#near")
    for part in ["ann", "5 each year, descriptors / user", "0 of 5", "/pool/*", "2 each year", "0 of 2"]:
        assert part in near, part
    assert "full in" in near and "slot" not in near
    assert "never" in tree.text("#top") and "0 each year" in tree.text("#top")
    assert "trial" in tree.text("#top-shadow")
    for name, width in [("desktop", 1280), ("phone", 360)]:
        tree.size(width, 740)
        assert tree.ask("document.documentElement.scrollWidth") <= width
        tree.picture(PICTURES / f"test-tree-{name}.png")


def test_a_descriptor_is_explained_with_its_window_or_why_it_has_none(tree):
    assert explained(tree, user="ann") == "Would be denied now: descriptors / user, 5 each year."
    answer = tree.text("#answer")
    assert "one for each user" in answer and "full in" in answer and "slot" not in answer
    assert explained(tree, user="carl").startswith("Would be admitted now")
    assert "5 of 5" in tree.text("#answer") and "slot" not in tree.text("#answer")
    assert explained(tree, user="ann", path="/free") == "Would be admitted now."
    assert "Why no limit applies" in tree.text("#answer") and "user.path_/free is unlimited" in tree.text("#answer")
    assert explained(tree, open="1") == "Would be admitted now."
    assert "no limit at open: its values pass" in tree.text("#answer")
    in_shadow = "Would be admitted now. In shadow, it would be denied: descriptors / trial, 1 each year."
    assert explained(tree, trial="t") == in_shadow
    assert explained(tree, never="n") == "Would be denied now: descriptors / never, 0 each year."
    assert "nothing passes" in tree.text("#answer")


def test_every_window_of_the_lists_is_explained_by_its_button(tree):
    for number in range(tree.ask("document.querySelectorAll('#near li').length")):
        tree.ask("document.querySelector('#answer').replaceChildren()")
        item = f"document.querySelectorAll('#near li')[{number}]"
        is_shadow = tree.ask(f"{item}.innerText.includes('shadow')")
        tree.ask(f"{item}.querySelector('button').click()")
        verdict = tree.until("document.querySelector('#answer .verdict')?.innerText")
        assert verdict.startswith("Would be admitted now. In shadow" if is_shadow else "Would be denied now"), verdict
