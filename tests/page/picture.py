"""Draws docs/page.png anew: the page of a server with the shipped policy, a minute of calls and two Envoys with shares.

    TOLLGATE_CHROMIUM=.. python tests/page/picture.py
"""

import random
import struct
import tempfile
import time
import zlib
from pathlib import Path

from conftest import chromium, set_entries, watch
from browser import Browser
from envoy import Envoy, usage
from messages import one
from tollgate import ROOT, SHIPPED_POLICY, Tollgate

PICTURE = ROOT / "docs" / "page.png"
SECONDS = 64
FREE = ["acme", "globex", "initech", "umbrella", "wayne-enterprises-with-a-rather-long-tenant-name"]


def call(tenant_type, tenant, method, path):
    return one("management-api", tenant_type=tenant_type, tenant=tenant, method=method, path=f"/api/v2/{path}")


def calls(second, dice):
    """The calls of one second: those of a large tenant, few of each free one, and one of these that knows no limits."""
    for _ in range(dice.randrange(24, 40) - second // 4):
        yield call("enterprise_production", "stark-industries", "GET", f"users/{dice.randrange(100)}")
    for tenant in FREE:
        if dice.random() < 0.8:
            yield call("free", tenant, "GET", "users")
        if dice.random() < 0.15 and tenant != "acme":
            yield call("free", tenant, "POST", "keys/signing/rotate")
    for _ in range(dice.randrange(16) if second % 20 < 12 else 0):
        yield call("free", "initech", "GET", "clients")
    if second in (5, 17, 30):
        yield call("free", FREE[second % 3], "POST", "jobs/users-imports")


def shares(envoys, second):
    """What two Envoys report each five seconds of two tenants, whose requests move from the one Envoy to the other."""
    if second % 5:
        return
    moved = round(22 * min(second, 45) / 45)
    for envoy, rate in zip(envoys, [25 - moved, 3 + moved]):
        # The first requests are few: the server begins with little.
        allowed = 1 if second == 0 else 5 if second == 5 else 5 * rate
        ids = [{"tenant_type": "enterprise_production", "tenant": tenant} for tenant in ["hooli", "pied-piper"]]
        envoy.report(*(usage(of, min(second, 5), allowed // part) for part, of in enumerate(ids, 1)))


def unfiltered(png):
    """The same picture a fifth smaller. Chromium filters each line, which suits photographs (PNG, 3rd edition, 9)."""
    chunks, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [8, 2, 0, 0, 0], "three bytes each, not interlaced"
    filtered = zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    lines, above, size = [], bytes(3 + 3 * width), 3 * width
    for start in range(0, height * (size + 1), size + 1):
        line = bytearray(3) + filtered[start + 1 : start + 1 + size]
        for at in range(3, size + 3):
            line[at] = (line[at] + predicted(filtered[start], line[at - 3], above[at], above[at - 3])) & 0xFF
        lines.append(b"\0" + line[3:])
        above = line
    made = [(b"IHDR", chunks[0][1]), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b"")]
    return png[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in made
    )


def predicted(way, left, above, corner):
    match way:
        case 0:
            return 0
        case 1:
            return left
        case 2:
            return above
        case 3:
            return (left + above) // 2
    guess = left + above - corner
    return min([left, above, corner], key=lambda near: abs(guess - near))


def main():
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        server, browser = Tollgate(SHIPPED_POLICY), Browser(chromium(), Path(folder) / "profile")
        try:
            page = watch(browser, server)
            envoys = [Envoy(server, "management-api") for _ in range(2)]
            start = time.monotonic()
            for second in range(SECONDS):
                time.sleep(max(0.0, start + second - time.monotonic()))
                for request in calls(second, dice):
                    server.ask(request)
                shares(envoys, second)
            set_entries(page, tenant_type="free", tenant="globex", endpoint_group="rotate_signing_keys")
            page.press("Enter")
            page.until("!!document.querySelector('#answer .verdict')")
            page.ask("document.activeElement.blur()")
            page.picture(PICTURE)
        finally:
            browser.close()
            server.close()
    PICTURE.write_bytes(unfiltered(PICTURE.read_bytes()))


if __name__ == "__main__":
    main()
