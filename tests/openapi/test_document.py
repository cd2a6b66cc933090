"""`/openapi.json` against the server: schemathesis makes requests of the document, right and wrong ones, and holds every
answer to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire")]

from messages import one  # noqa: E402
from tollgate import Tollgate, write_policy  # noqa: E402

TOKEN = "0123456789abcdef"

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
      - name: addresses
        key: [remote_address]
        rows: { all: { shadow: true, buckets: [{ per_day: 5 }] } }
    overrides:
      - { table: calls, row: small, when: { who: large }, until: 2100-01-01T00:00:00Z, buckets: [{ per_day: 100 }] }
"""

# The same requests each time, so that a change is not blamed for another's luck; about a minute in all.
SEED = 1
EXAMPLES = 40
MOST_SECONDS = 300


def schemathesis(address, folder):
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"),
        "run",
        f"http://{address}/openapi.json",
        "--header",
        f"Authorization: Bearer {TOKEN}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={EXAMPLES}",
        f"--seed={SEED}",
        "--request-timeout=30",
        # A stream without an end: nothing comes after its head that could be held to a schema.
        "--exclude-path=/events",
    ]
    return subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )


def test_every_operation_answers_as_the_document_says(tmp_path):
    server = Tollgate(write_policy(tmp_path, POLICY), "--admin-token", TOKEN)
    try:
        # So that lists are not empty.
        for _ in range(8):
            server.ask(one("d", who="acme", kind="small"))
            server.ask(one("d", remote_address="2001:db8:1:2:3::4"))
        server.ask(one("d", who="acme", job="1"))
        for path in ["/buckets", "/leases"]:
            assert json.loads(server.http(path).body)["items"], path
        ended = schemathesis(server.http_address, tmp_path)
        assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
        # It has asked for all of them but /events and the document, which it has read.
        paths = json.loads(server.http("/openapi.json").body)["paths"]
        assert f"Tested: {sum(map(len, paths.values())) - 2}\n" in ended.stdout, ended.stdout
    finally:
        server.close()
