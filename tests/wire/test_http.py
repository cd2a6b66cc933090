"""The HTTP side: probes, metrics, the JSON twin of the call, and what is in force."""

import json
import urllib.error

import grpc
import pytest

import prometheus
from messages import admitted, one
from tollgate import SHIPPED_POLICY, run

DOMAIN = "management-api"
MARK = "planted-by-a-client"


def json_request(tenant, domain=DOMAIN, **more):
    entries = [{"key": "tenant", "value": tenant}, {"key": "endpoint_group", "value": "rotate_signing_keys"}]
    return {"domain": domain, "descriptors": [{"entries": entries, **more}]}


def post(server, body):
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return server.http("/json", text, {"content-type": "application/json"})


# Probes.


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_running_server_is_healthy_and_ready(management_api, path):
    assert management_api.http(path).status == 200


def test_an_unknown_path_is_not_found(management_api):
    assert management_api.http("/no-such-path").status == 404


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/config"])
def test_what_is_read_cannot_be_posted(management_api, path):
    assert management_api.http(path, "x").status == 405


# Metrics.


def test_metrics_are_prometheus_text(management_api):
    answer = management_api.http("/metrics")
    assert answer.status == 200
    kind = answer.headers["content-type"]
    assert kind.startswith(("text/plain", "application/openmetrics-text")), kind
    assert prometheus.parse(answer.body)


def test_metrics_count_admitted_and_denied_calls(management_api, tenant):
    def counted():
        samples = prometheus.parse(management_api.http("/metrics").body)
        return sum(value for (_, labels), value in samples.items() if ("row", "rotate_signing_keys") in labels)

    before = counted()
    for _ in range(7):
        management_api.ask(one(domain=DOMAIN, tenant=tenant, endpoint_group="rotate_signing_keys"))
    assert counted() - before >= 7


def test_no_text_of_a_client_ever_becomes_a_label(management_api):
    series_before = None
    for round_ in range(3):
        for i in range(20):
            odd = f'{MARK}-{round_}-{i}"}}\n\\{{'
            facts = {"tenant": odd, "tenant_type": odd, "endpoint_group": odd, "user": odd, "scope": odd}
            management_api.ask(one(domain=DOMAIN, **facts))
            management_api.ask(one(domain=DOMAIN, method=odd, path=f"/{odd}", remote_address=odd, tenant=odd))
            management_api.ask(one(domain=odd, **facts))
            management_api.ask(one(domain=DOMAIN, **{odd: odd}))
            with pytest.raises(grpc.RpcError):
                management_api.ask_bytes(b"", method=f"{MARK}{i}")
        body = management_api.http("/metrics").body
        assert MARK not in body
        series = set(prometheus.parse(body))
        assert series_before is None or series == series_before, "series grew with what clients sent"
        series_before = series


def test_keys_are_bounded_and_what_had_to_go_is_counted(serve):
    server = serve(
        """
        domain: test
        tables:
          - { name: address, key: [remote_address], rows: { all: [{ per_day: 2 }] } }
        """,
        "--max-keys",
        1_000,
    )
    for i in range(3_000):
        assert admitted(server.ask(one(remote_address=f"192.{i >> 16}.{i >> 8 & 255}.{i & 255}")))
    samples = prometheus.parse(server.http("/metrics").body)
    assert prometheus.total(samples, "tollgate_keys") <= 1_000
    assert prometheus.total(samples, "tollgate_evictions_total") >= 2_000


# The call as JSON.


def test_json_answers_200_then_429(management_api, tenant):
    answers = [post(management_api, json_request(tenant)) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert all(answer.headers["content-type"].startswith("application/json") for answer in answers)
    assert [answer.json()["overallCode"] for answer in answers] == ["OK"] * 5 + ["OVER_LIMIT"]
    first = answers[0].json()["statuses"][0]
    assert (first["code"], first["limitRemaining"]) == ("OK", 4)
    assert first["currentLimit"]["requestsPerUnit"] == 5
    assert first["currentLimit"]["unit"] == "DAY"


def test_json_and_grpc_share_their_buckets(management_api, tenant):
    for _ in range(3):
        post(management_api, json_request(tenant))
    over_grpc = one(domain=DOMAIN, tenant=tenant, endpoint_group="rotate_signing_keys", hits=3)
    assert not admitted(management_api.ask(over_grpc))


@pytest.mark.parametrize("hits", [{"hitsAddend": "3"}, {"hitsAddend": 3}, {"hits_addend": 3}])
def test_json_reads_hits_as_protobuf_json_writes_them(management_api, tenant, hits):
    answer = post(management_api, json_request(tenant, **hits))
    assert answer.json()["statuses"][0]["limitRemaining"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"domain": "management-api"}',
        b'{"domain": "", "descriptors": [{"entries": [{"key": "tenant", "value": "x"}]}]}',
        b'{"domain": "management-api", "descriptors": [{"entries": []}]}',
        b'{"domain": "management-api", "descriptors": [{"entries": [{"key": "", "value": "x"}]}]}',
        b'{"domain": 7, "descriptors": []}',
        b'{"domain": "management-api", "descriptors": "tenant"}',
        json.dumps(json_request("x", hitsAddend="many")),
        json.dumps(json_request("x", hitsAddend="-1")),
        json.dumps(json_request("x", limit={"requestsPerUnit": 1})),
        b'{"domain": "management-api", "descriptors": [{"entries": [{"key": "tenant", "value": "\xff"}]}]}',
        b"[" * 100_000,
    ],
    ids=range(16),
)
def test_json_that_is_no_request_is_a_bad_request_that_says_why(management_api, body):
    answer = post(management_api, body)
    assert answer.status == 400
    assert answer.body.strip()


def test_json_tells_what_is_missing_in_the_words_of_grpc(management_api):
    assert "rate limit domain must not be empty" in post(management_api, {"descriptors": []}).body
    assert "rate limit descriptor list must not be empty" in post(management_api, {"domain": DOMAIN}).body


# Who may ask there: by default whoever may change something, and no page of another site in any case.


TOKEN = "0123456789abcdef"
SMALL = """
    domain: management-api
    tables:
      - { name: tenant, key: [tenant], rows: { all: [{ per_day: 2 }] } }
      - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 2, ttl: 1h }] } }
"""


def test_json_is_off_for_strangers_and_their_questions_charge_nothing(serve):
    for flags, status in [([], 403), (["--http-json", "off"], 403), (["--admin-token", TOKEN], 401)]:
        server = serve(SMALL, *flags)
        for _ in range(3):
            assert post(server, json_request("victim")).status == status
        assert [admitted(server.ask(one(domain=DOMAIN, tenant="victim"))) for _ in range(3)] == [True, True, False]


def test_json_decides_for_who_has_the_token(serve):
    server = serve(SMALL, "--admin-token", TOKEN)
    head = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    answers = [server.http("/json", json.dumps(json_request("mine")), head).status for _ in range(3)]
    assert answers == [200, 200, 429]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_page_can_send_anywhere_is_no_json(serve, kind):
    server = serve(SMALL, "--http-json", "on")
    for _ in range(3):
        assert server.http("/json", json.dumps(json_request("victim")), {"content-type": kind}).status == 415
    assert admitted(server.ask(one(domain=DOMAIN, tenant="victim", hits=2)))


def test_a_page_of_another_site_decides_nothing_even_where_everybody_may(serve):
    server = serve(SMALL, "--http-json", "on")
    for more in [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]:
        head = {"content-type": "application/json", **more}
        assert server.http("/json", json.dumps(json_request("victim")), head).status == 403
    own = {"content-type": "application/json", "origin": f"http://{server.http_address}"}
    assert server.http("/json", json.dumps(json_request("victim")), own).status == 200
    assert not admitted(server.ask(one(domain=DOMAIN, tenant="victim", hits=2)))


def test_a_name_that_was_made_to_lead_here_is_not_answered(serve):
    server = serve(SMALL, "--http-json", "on", "--http-host", "a.example,tollgate.example")
    for host, status in [("evil.example", 421), ("tollgate.example:8080", 200), ("localhost", 200), ("[::1]", 200)]:
        head = {"content-type": "application/json", "host": host}
        assert server.http("/explain", json.dumps(json_request("x")), head).status == status, host
        assert server.http("/config", headers={"host": host}).status == status
    for path in ["/healthz", "/readyz", "/metrics"]:
        assert server.http(path, headers={"host": "tollgate.tollgate.svc:8080"}).status == 200


def test_a_host_that_is_no_name_ends_it_with_2():
    for wrong in ["a:8080", "*.example.org", "127.0.0.1", "http://a", "a,"]:
        ended = run("serve", "--config", SHIPPED_POLICY, "--http-host", wrong)
        assert (ended.returncode, "--http-host" in ended.stderr) == (2, True), ended


def test_json_must_be_posted(management_api):
    assert management_api.http("/json").status == 405


def test_a_json_body_of_many_megabytes_is_refused(management_api, tenant):
    try:
        answer = post(management_api, json_request(tenant + "x" * 8_000_000))
    except urllib.error.URLError as closed:  # before all of it was sent
        assert isinstance(closed.reason, ConnectionError), closed
    else:
        assert answer.status == 413
    assert post(management_api, json_request(tenant)).json()["statuses"][0]["limitRemaining"] == 4


# What is in force.


def test_config_tells_the_policy_in_force(management_api):
    answer = management_api.http("/config")
    assert answer.status == 200
    for name in (DOMAIN, "tenant", "rotate_signing_keys", "create_import_users_job"):
        assert name in answer.body


def test_config_tells_nothing_that_clients_sent(management_api):
    management_api.ask(one(domain=DOMAIN, tenant=MARK, tenant_type="free"))
    assert MARK not in management_api.http("/config").body


def test_the_log_holds_no_raw_text_of_clients(serve):
    server = serve(
        """
        domain: test
        tables:
          - { name: tenant, key: [tenant], rows: { all: [{ per_day: 1 }] } }
        """
    )
    forged = '\n{"level":"INFO","fields":{"message":"forged"}}\n'
    for _ in range(3):
        server.ask(one(tenant=forged))
        server.ask(one(domain=forged, tenant=forged))
        with pytest.raises(grpc.RpcError):
            server.ask(one(domain="", tenant=forged))
    server.terminate()
    assert server.wait() == 0
    for line in server.log:
        assert json.loads(line)["fields"].get("message") != "forged"
