"""The page while Envoys limit by themselves: who has which share."""

import queue

from conftest import HOSTILE, PICTURES, watch

STREAM = "/envoy.service.rate_limit_quota.v3.RateLimitQuotaService/StreamRateLimitQuotas"

POLICY = """
    domain: d
    tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }]
"""


def field(number, payload):
    """A field of bytes in a message of protobuf, of less than 128 bytes."""
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def report(tenant):
    """The first report of a bucket id with one entry: one request, let through."""
    entry = field(1, b"tenant") + field(2, tenant.encode())
    usage = field(1, field(1, entry)) + field(2, b"") + bytes([3 << 3, 1])
    return field(1, b"d") + field(2, usage)


class Envoy:
    """A stream that stays open."""

    def __init__(self, server):
        self._reports = queue.Queue()
        call = server.channel.stream_stream(STREAM)
        self.told = call(iter(self._reports.get, None))

    def report(self, tenant):
        self._reports.put(report(tenant))
        assert next(self.told)

    def end(self):
        self._reports.put(None)


def test_the_shares_of_envoys_are_listed_while_there_are_any(start, browser):
    server, _ = start(policy=POLICY)
    page = watch(browser, server)
    assert page.ask("document.querySelector('#shares-part').hidden")
    one, other = Envoy(server), Envoy(server)
    one.report("acme")
    other.report("acme")
    other.report(HOSTILE[:40])
    page.until("document.querySelectorAll('#shares li').length === 3")
    text = page.text("#shares")
    assert "tenants/all" in text and "acme" in text and HOSTILE[:40] in text
    # 5 % of 50 for each while the server does not know who had shares before it started; all of it once it knows.
    page.until("document.querySelector('#shares').innerText.includes('25/s')")
    page.picture(PICTURES / "shares.png")
    assert page.ask("window.harmed === undefined")
    one.end()
    page.until("document.querySelector('#shares').innerText.includes('stream ended')")
    # Its share is free again after a while.
    page.until("!document.querySelector('#shares').innerText.includes('25/s')")
    other.end()
    page.until("document.querySelector('#shares-part').hidden")
