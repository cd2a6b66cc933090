"""What a client of the API gets to see: headers, body, and what Envoy keeps with the request."""

import json
import time

import pytest
from google.protobuf.json_format import MessageToDict

from messages import admitted, entries, one, request, request_headers, response_headers

POLICY = """
    domain: test
    headers: {style}
    tables:
      - name: tenant
        select: plan
        key: [tenant]
        rows:
          free: [{{ per_day: 5 }}]
          fast: [{{ size: 1, per_second: 3 }}]
          default: [{{ size: 8, per_hour: 4 }}, {{ per_day: 24 }}]
      - name: uploads
        when: {{ job: upload }}
        key: [tenant]
        rows: {{ all: [{{ per_day: 1 }}] }}
        message: "No more than {{limit}} in {{table}}/{{row}}; again in {{retry_after}} s"
"""

# A token of `free` takes this long; the tests allow for ten minutes of a slow machine.
TOKEN = 86_400 // 5
SLOW = 600


@pytest.fixture
def served(serve):
    """A server with the given header style."""
    return lambda style: serve(POLICY.format(style=style))


def exhausted(server, **facts):
    """A denial where nothing is left."""
    for _ in range(6):
        answer = server.ask(one(**facts))
    assert not admitted(answer)
    return answer


# Headers.


def test_headers_of_the_epoch_style_tell_limit_remaining_and_reset_as_unix_time(served):
    server = served("epoch")
    before = time.time()
    headers = response_headers(server.ask(one(tenant="acme", plan="free", hits=2)))
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("5", "3")
    assert before + 2 * TOKEN <= int(headers["x-ratelimit-reset"]) <= time.time() + 2 * TOKEN + 1
    assert "retry-after" not in headers


def test_the_epoch_style_is_the_default(serve):
    server = serve(POLICY.replace("headers: {style}", "").format())
    headers = response_headers(server.ask(one(tenant="acme", plan="free")))
    assert int(headers["x-ratelimit-reset"]) > time.time()


def test_headers_of_the_delta_style_tell_the_seconds_until_reset(served):
    headers = response_headers(served("delta").ask(one(tenant="acme", plan="free", hits=2)))
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("5", "3")
    assert 2 * TOKEN - SLOW <= int(headers["x-ratelimit-reset"]) <= 2 * TOKEN


def test_headers_of_the_ietf_style_are_ratelimit_and_ratelimit_policy(served):
    headers = response_headers(served("ietf").ask(one(tenant="acme", plan="free", hits=2)))
    assert not [name for name in headers if name.startswith("x-")]
    assert ";q=5;w=86400" in headers["ratelimit-policy"]
    assert ";r=3;t=" in headers["ratelimit"]
    assert TOKEN - SLOW <= int(headers["ratelimit"].rsplit("t=", 1)[1]) <= TOKEN


def test_t_of_the_ietf_style_ends_with_retry_after(served):
    headers = response_headers(exhausted(served("ietf"), tenant="acme", plan="free"))
    assert headers["ratelimit"] == f'"tenant/free";r=0;t={headers["retry-after"]}'


def test_each_bucket_of_a_row_is_a_policy_of_the_ietf_style(served):
    headers = response_headers(served("ietf").ask(one(tenant="acme")))
    policies = '"tenant/default per hour";q=8;w=7200, "tenant/default per day";q=24;w=86400'
    assert headers["ratelimit-policy"] == policies
    assert headers["ratelimit"].startswith('"tenant/default per hour";r=7;t=')


def test_headers_that_are_off_leave_a_denial_its_retry_after(served):
    server = served("off")
    assert response_headers(server.ask(one(tenant="acme", plan="free"))) == {}
    assert set(response_headers(exhausted(server, tenant="acme", plan="free"))) == {"retry-after", "content-type"}


@pytest.mark.parametrize("style", ["epoch", "delta", "ietf", "off"])
def test_a_denial_tells_when_to_try_again_in_every_style(served, style):
    headers = response_headers(exhausted(served(style), tenant="acme", plan="free"))
    assert TOKEN - SLOW <= int(headers["retry-after"]) <= TOKEN


@pytest.mark.parametrize("style", ["epoch", "delta"])
def test_a_denial_tells_that_nothing_is_left(served, style):
    headers = response_headers(exhausted(served(style), tenant="acme", plan="free"))
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("5", "0")


def test_retry_after_is_never_below_one_second(served):
    server = served("epoch")
    answers = [server.ask(one(tenant="acme", plan="fast")) for _ in range(2)]
    assert int(response_headers(answers[1])["retry-after"]) == 1


def test_more_than_a_bucket_can_hold_has_no_time_to_retry_after(served):
    server = served("epoch")
    for hits in (2, 1_000_000):
        denied = server.ask(one(tenant="acme", plan="fast", hits=hits))
        assert "retry-after" not in response_headers(denied)
        assert "this request alone exceeds it" in json.loads(denied.raw_body)["message"]


def test_retry_after_is_when_this_call_would_pass_not_when_the_bucket_is_full(served):
    server = served("epoch")
    server.ask(one(tenant="acme", plan="free", hits=4))  # 1 left
    headers = response_headers(server.ask(one(tenant="acme", plan="free", hits=3)))
    assert 2 * TOKEN - SLOW <= int(headers["retry-after"]) <= 2 * TOKEN


def test_the_limit_in_the_header_is_what_the_bucket_holds(served):
    headers = response_headers(served("epoch").ask(one(tenant="acme", hits=3)))
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("8", "5")


def test_headers_speak_of_the_tightest_bucket_over_all_descriptors(served):
    server = served("epoch")
    answer = server.ask(request(entries(tenant="a", plan="free"), entries(tenant="b", plan="free", hits=4)))
    assert response_headers(answer)["x-ratelimit-remaining"] == "1"


@pytest.mark.parametrize("style", ["epoch", "delta", "ietf", "off"])
def test_a_call_that_meets_no_bucket_gets_no_headers(served, style):
    server = served(style)
    assert response_headers(server.ask(one(user="ann"))) == {}
    assert response_headers(server.ask(one(domain="unknown", tenant="acme"))) == {}


def test_ordinary_calls_add_nothing_to_the_request(served):
    assert request_headers(served("epoch").ask(one(tenant="acme", plan="free"))) == {}


# The body.


def test_a_denial_carries_a_json_body_and_its_type(served):
    answer = exhausted(served("epoch"), tenant="acme", plan="free")
    assert response_headers(answer)["content-type"].split(";")[0] == "application/json"
    body = json.loads(answer.raw_body)
    assert list(body) == ["statusCode", "error", "message"]
    assert (body["statusCode"], body["error"]) == (429, "Too Many Requests")
    assert isinstance(body["message"], str)
    assert body["message"]


def test_a_table_may_have_its_own_message_with_places_filled_in(served):
    server = served("epoch")
    facts = {"tenant": "acme", "plan": "free", "job": "upload"}
    server.ask(one(**facts))
    answer = server.ask(one(**facts))
    retry_after = response_headers(answer)["retry-after"]
    assert json.loads(answer.raw_body)["message"] == f"No more than 1 in uploads/all; again in {retry_after} s"


def test_an_admitted_call_has_no_body_and_no_content_type(served):
    answer = served("epoch").ask(one(tenant="acme", plan="free"))
    assert answer.raw_body == b""
    assert "content-type" not in response_headers(answer)


# What Envoy keeps with the request.


def test_the_metadata_of_a_denial_names_table_row_and_bucket(served):
    metadata = MessageToDict(exhausted(served("epoch"), tenant="acme", plan="free").dynamic_metadata)
    assert (metadata["table"], metadata["row"]) == ("tenant", "free")
    assert metadata["bucket"] == "5 per day"


def test_an_admitted_call_without_a_lease_has_no_metadata(served):
    answer = served("epoch").ask(one(tenant="acme", plan="free"))
    assert MessageToDict(answer.dynamic_metadata) == {}


# Client text.

HOSTILE = [
    "evil\r\nset-cookie: a=b",
    "evil\0",
    'evil"}\n',
    "evil\u2028\u202e",
    "evil{limit}{retry_after}",
    "evil" * 10_000,
]


@pytest.mark.parametrize("style", ["epoch", "delta", "ietf", "off"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_client_text_is_in_no_part_of_an_answer(served, style, text):
    server = served(style)
    for facts in (
        {"tenant": text, "plan": "free"},
        {"tenant": text, "plan": text},
        {"tenant": text, "job": text, "plan": "free"},
    ):
        for hits in (1, 1_000):
            assert b"evil" not in server.ask(one(**facts, hits=hits)).SerializeToString()
    assert b"evil" not in server.ask(one(tenant=text, limit=(5, "DAY"), hits=9)).SerializeToString()
    assert b"evil" not in server.ask(one(domain=text, tenant=text)).SerializeToString()
