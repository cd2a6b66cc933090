#!/usr/bin/env python3
"""Mints a test token that the edge of jwt.yaml accepts.

    python3 envoy/mint_token.py --tenant acme --type free --user u1

The key is the sample key inside jwt.yaml. It is published, so a token signed
with it proves nothing: for trying out only. (The name is not token.py because
Python's own library has a module of that name.)
"""

import argparse
import base64
import hashlib
import hmac
import json
import pathlib
import re
import time

JWT_YAML = pathlib.Path(__file__).with_name("jwt.yaml")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sample_key() -> bytes:
    """The one place where the key stands is the key set in jwt.yaml."""
    found = re.search(r'"k":"([\w-]+)"', JWT_YAML.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{JWT_YAML}: no \"k\" of an oct key found")
    text = found.group(1)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def mint(claims: dict) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "sample"}
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = hmac.new(sample_key(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(signature)}"


def main() -> None:
    args = argparse.ArgumentParser(description="Mint a test token for envoy/jwt.yaml.")
    args.add_argument("--tenant", help="left out: a token without a tenant")
    args.add_argument("--type", help="free, trial, self_service, startup, enterprise_production, ...")
    args.add_argument("--user", default="u1", help="the token's subject (default: u1)")
    args.add_argument("--scope", help="current_user for a single-page application's token")
    args.add_argument("--ttl", type=int, default=3600, help="seconds until it expires (default: 3600)")
    given = args.parse_args()

    now = int(time.time())
    claims = {
        "iss": "tollgate-sample",
        "aud": "management-api",
        "iat": now,
        "exp": now + given.ttl,
        "sub": given.user,
        "tenant": given.tenant,
        "tenant_type": given.type,
        "scope": given.scope,
    }
    print(mint({name: value for name, value in claims.items() if value is not None}))


if __name__ == "__main__":
    main()
