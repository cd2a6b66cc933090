"""The page while Envoys limit by themselves: who has which share."""

import re

from conftest import HOSTILE, PICTURES, watch
from envoy import Envoy, usage

POLICY = """
    domain: d
    tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }]
"""

# Whether some share is about half of a bucket, or all of one.
HALF, WHOLE = (
    f"/\\b{rate}\\/s/.test(document.querySelector('#shares').innerText)" for rate in ("2[5-9]", "5[0-3]")
)


def begin(envoy, tenant):
    """Reports the first request of a tenant."""
    envoy.report(usage({"tenant": tenant}, 0, 1))


def test_the_shares_of_envoys_are_listed_while_there_are_any(start, browser):
    server, _ = start(policy=POLICY)
    page = watch(browser, server)
    assert page.ask("document.querySelector('#shares-part').hidden")
    one, other = Envoy(server), Envoy(server)
    begin(one, "acme")
    begin(other, "acme")
    begin(other, HOSTILE[:40])
    page.until("document.querySelectorAll('#shares li').length === 3")
    text = page.text("#shares")
    assert "tenants/all" in text and "acme" in text and HOSTILE[:40] in text
    # 5 % of 50 for each while the server does not know who had shares before it started; all of it once it knows, and what
    # is left in the buckets and nobody holds, over twenty seconds.
    page.until(HALF)
    page.until(WHOLE)
    moved = page.ask("""[...document.querySelectorAll('#shares li')].map((item) => ({
      text: item.innerText,
      words: item.querySelector('.spark title').textContent,
      line: item.querySelector('.spark .edge').getAttribute('d'),
    }))""")
    for share in moved:
        # Those of the same rows have the same scale, whose height is the largest of them.
        end, height = ("2[5-9]", 10.0) if "acme" in share["text"] else ("5[0-3]", 1.0)
        assert re.fullmatch(rf"\d\.\d/s to {end}/s in the last two minutes", share["words"]), share
        at = re.fullmatch(r"M.*V([\d.]+)H120", share["line"])
        assert at and abs(float(at[1]) - height) < 1, share
    page.picture(PICTURES / "shares.png")
    assert page.ask("window.harmed === undefined")
    one.end()
    page.until("document.querySelector('#shares').innerText.includes('stream ended')")
    # Its share is free again after a while.
    page.until(f"!{HALF}")
    # Those of two streams that have ended are two, though nothing tells them apart.
    third = Envoy(server)
    begin(third, "acme")
    other.end()
    third.end()
    ended = "[...document.querySelectorAll('#shares li')].filter((item) => /acme[^]*stream ended/.test(item.innerText))"
    page.until(f"{ended}.length === 2")
    page.until("document.querySelector('#shares-part').hidden")
