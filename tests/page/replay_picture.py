"""Draws docs/replay.png anew: the page of a replay of ten hours of made-up traffic through the shipped policy.

    TOLLGATE_CHROMIUM=.. python tests/page/replay_picture.py
"""

import json
import random
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from conftest import chromium
from browser import Browser
from picture import unfiltered
from tollgate import ROOT, SHIPPED_POLICY, binary, environment

PICTURE = ROOT / "docs" / "replay.png"
MAPPING = ROOT / "config" / "replay" / "management-api.yaml"
BEGIN = datetime(2026, 3, 2, 8, tzinfo=timezone.utc)
SECONDS = 36_000
NAMES = ["acme", "globex", "hooli", "initech", "stark-industries", "umbrella", "wayne-enterprises"]
TYPES = {"free": 70, "self_service": 22, "enterprise_production": 8}

# Three tenants that copy their clients: the tenant, at which hours, how many requests, and how many a second.
COPIES = [
    ("initech", [2.0, 5.0, 5.2, 8.0], 240, 20),
    ("globex", [4.0, 4.1, 6.0], 130, 14),
    ("umbrella", [3.0], 40, 25),
]


def requests(dice):
    """Requests of 400 tenants, most at noon: the second, the tenant and its type, and what is read."""
    for number in range(400):
        tenant_type = dice.choices([*TYPES], [*TYPES.values()])[0]
        tenant = f"{dice.choice(NAMES)}-{number}"
        rate = dice.lognormvariate(-5.5, 1.0) * (1 if tenant_type == "free" else 4)
        second = 0.0
        while second < SECONDS:
            noon = max(0.0, 1 - abs(second - SECONDS / 2) / (SECONDS / 2))
            second += dice.expovariate(rate * (0.4 + 1.2 * noon))
            read = dice.choice(["users", "users", "users", "clients", "logs"])
            for _ in range(1 if dice.random() < 0.9 else dice.randrange(2, 6)):
                yield second + 2 * dice.random(), tenant, tenant_type, read
    for tenant, hours, count, rate in COPIES:
        for hour in hours:
            for at in range(count):
                yield 3600 * hour + at / rate, tenant, "free", "clients"


def lines(dice):
    for second, tenant, tenant_type, read in sorted(requests(dice)):
        if second < SECONDS:
            at = (BEGIN + timedelta(seconds=second)).isoformat(timespec="milliseconds")
            yield json.dumps({
                "start_time": at.replace("+00:00", "Z"),
                "duration": dice.randrange(3, 90),
                "method": "GET",
                "path": f"/api/v2/{read}/{dice.randrange(1000)}",
                "status": 200,
                "remote_address": "192.0.2.1",
                "x_tenant": tenant,
                "x_tenant_type": tenant_type,
            })  # fmt: skip


def main():
    with tempfile.TemporaryDirectory() as folder:
        log, page = Path(folder) / "access.json", Path(folder) / "report.html"
        log.write_text("\n".join(lines(random.Random(7))) + "\n", encoding="utf-8")
        command = [binary(), "replay", "--config", SHIPPED_POLICY, "--map", MAPPING, "--html", page, log.name]
        subprocess.run(command, env=environment(), cwd=folder, stdout=subprocess.DEVNULL, check=True)
        browser = Browser(chromium(), Path(folder) / "profile")
        try:
            browser.prefer(color_scheme="light")
            browser.size(1200, 2140)
            browser.open(page.as_uri())
            browser.ask("document.querySelector('.keys details').open = true")
            browser.picture(PICTURE, whole=False)
        finally:
            browser.close()
    PICTURE.write_bytes(unfiltered(PICTURE.read_bytes()))


if __name__ == "__main__":
    main()
