"""Slots that are held until they are released: the shipped policy's import jobs, and others."""

import json
import string

import pytest
from google.protobuf.json_format import MessageToDict

import h2
from messages import admitted, entries, one, remaining, request, request_headers, response_headers
from stubs import ratelimit
from tollgate import eventually

JOBS = """
    domain: test
    tables:
      - name: jobs
        when: { kind: job }
        key: [tenant]
        rows: { all: [{ concurrent: 2, ttl: 1h }] }
        message: There are {limit} active jobs
      - name: tenant
        key: [tenant]
        rows: { all: [{ per_day: 100 }] }
      - name: user
        key: [user]
        rows: { all: [{ per_day: 1 }] }
"""


def job(tenant, **more):
    return one(tenant=tenant, kind="job", **more)


def lease_of(answer):
    """The lease that an admitted call now holds."""
    assert admitted(answer)
    return MessageToDict(answer.dynamic_metadata)["lease"]


def release(lease, *facts):
    """As Envoy's stream-done descriptor, or whoever runs the job, gives a lease back."""
    return request(entries(*facts, ("lease", lease), hits=1, back=True))


def slots_left(server, tenant):
    """Without taking one. A look shows the tightest bucket of the call; a full one the rate's."""
    status = server.ask(job(tenant, hits=0)).statuses[0]
    assert status.current_limit.requests_per_unit == 2, "a bucket other than the slots came first"
    return status.limit_remaining


def test_an_acquired_lease_is_told_to_envoy_and_to_the_upstream(serve):
    answer = serve(JOBS).ask(job("acme"))
    lease = lease_of(answer)
    assert request_headers(answer) == {"x-tollgate-lease": lease}
    assert len(lease) == 32 and set(lease) <= set(string.hexdigits.lower()), "128 bits"


def test_a_lease_is_no_header_of_the_response(serve):
    answer = serve(JOBS).ask(job("acme"))
    lease = lease_of(answer)
    assert lease not in "".join(response_headers(answer).values())


def test_leases_are_all_different(serve):
    server = serve(JOBS)
    leases = {lease_of(server.ask(job(f"tenant-{i}"))) for i in range(50)}
    assert len(leases) == 50


def test_as_many_may_hold_a_slot_as_there_are_and_the_next_is_denied(serve):
    server = serve(JOBS)
    answers = [server.ask(job("acme")) for _ in range(3)]
    assert [admitted(answer) for answer in answers] == [True, True, False]
    assert [remaining(answer) for answer in answers] == [[1], [0], [0]]
    assert json.loads(answers[2].raw_body)["message"] == "There are 2 active jobs"
    assert admitted(server.ask(job("other")))


def test_a_denied_job_may_try_again_in_seconds_though_leases_last_an_hour(serve):
    server = serve(JOBS)
    denied = [server.ask(job("acme")) for _ in range(3)][2]
    assert int(response_headers(denied)["retry-after"]) == 5


def test_a_denied_request_takes_no_lease_and_names_none(serve):
    server = serve(JOBS)
    server.ask(one(user="ann"))  # ann has nothing left
    denied = server.ask(request(entries(tenant="acme", kind="job"), entries(user="ann")))
    assert not admitted(denied)
    assert "lease" not in MessageToDict(denied.dynamic_metadata)
    assert request_headers(denied) == {}
    assert slots_left(server, "acme") == 2


def test_a_job_that_finds_no_slot_takes_no_token_either(serve):
    server = serve(JOBS)
    for _ in range(5):
        server.ask(job("acme"))
    assert remaining(server.ask(one(tenant="acme", hits=0))) == [98]


def test_a_released_slot_can_be_taken_again(serve):
    server = serve(JOBS)
    first, _second = (lease_of(server.ask(job("acme"))) for _ in range(2))
    assert admitted(server.ask(release(first)))
    assert admitted(server.ask(job("acme")))
    assert not admitted(server.ask(job("acme")))


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [("tenant", "acme")],
        [("tenant", "acme"), ("kind", "job")],
        [("tenant", "other"), ("kind", "job")],
        [("anything", "else")],
    ],
    ids=lambda facts: "+".join(key for key, _ in facts) or "nothing",
)
def test_the_lease_alone_is_enough_to_release_it_whatever_comes_along(serve, facts):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    assert admitted(server.ask(release(lease, *facts)))
    assert slots_left(server, "acme") == 2


def test_a_lease_is_released_once_however_often_it_is_asked(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    server.ask(job("acme"))
    for _ in range(5):
        assert admitted(server.ask(release(lease)))
    assert slots_left(server, "acme") == 1, "the other job still runs"


def test_a_lease_named_twice_in_one_request_is_released_once(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    server.ask(job("acme"))
    twice = entries(lease=lease, hits=1, back=True)
    assert admitted(server.ask(request(twice, twice)))
    assert slots_left(server, "acme") == 1


def test_a_lease_nobody_was_given_releases_nothing(serve):
    server = serve(JOBS)
    lease_of(server.ask(job("acme")))
    assert admitted(server.ask(release("0" * 32)))
    assert slots_left(server, "acme") == 1


@pytest.mark.parametrize("not_a_lease", ["", "0", "g" * 32, "0" * 31, "0" * 33, "\N{BULLET}" * 32, "+" + "0" * 31])
def test_what_cannot_be_a_lease_releases_nothing(serve, not_a_lease):
    server = serve(JOBS)
    lease_of(server.ask(job("acme")))
    answer = server.ask(release(not_a_lease))
    assert admitted(answer) and answer.dynamic_metadata["released"] == 0
    assert slots_left(server, "acme") == 1


def test_negative_hits_without_a_lease_free_no_slot(serve):
    server = serve(JOBS)
    lease_of(server.ask(job("acme")))
    assert admitted(server.ask(job("acme", hits=2, back=True)))
    assert slots_left(server, "acme") == 1


def test_a_release_touches_no_token_bucket(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    server.ask(release(lease, ("tenant", "acme"), ("kind", "job")))
    assert remaining(server.ask(one(tenant="acme", hits=0))) == [99]


def test_a_lease_without_negative_hits_is_an_ordinary_entry(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    assert admitted(server.ask(job("acme", lease=lease)))
    assert slots_left(server, "acme") == 0


def test_a_look_takes_no_lease(serve):
    server = serve(JOBS)
    answer = server.ask(job("acme", hits=0))
    assert admitted(answer)
    assert request_headers(answer) == {}
    assert MessageToDict(answer.dynamic_metadata) == {}
    assert slots_left(server, "acme") == 2


def test_one_call_may_take_several_slots_under_one_lease(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme", hits=2)))
    assert not admitted(server.ask(job("acme")))
    server.ask(release(lease))
    assert slots_left(server, "acme") == 2


def test_more_slots_than_there_are_is_over_limit(serve):
    server = serve(JOBS)
    for hits in (3, 1 << 63, (1 << 64) - 1):
        assert not admitted(server.ask(job("acme", hits=hits)))
    assert slots_left(server, "acme") == 2


def test_slots_met_through_two_descriptors_are_taken_once(serve):
    server = serve(JOBS)
    twice = entries(tenant="acme", kind="job")
    lease = lease_of(server.ask(request(twice, twice)))
    assert slots_left(server, "acme") == 1
    server.ask(release(lease))
    assert slots_left(server, "acme") == 2


def test_one_lease_holds_the_slots_of_every_bucket_the_call_met(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(request(entries(tenant="a", kind="job"), entries(tenant="b", kind="job"))))
    assert (slots_left(server, "a"), slots_left(server, "b")) == (1, 1)
    server.ask(release(lease))
    assert (slots_left(server, "a"), slots_left(server, "b")) == (2, 2)


def test_a_slot_may_be_taken_by_the_request_that_frees_it(serve):
    server = serve(JOBS)
    lease = lease_of(server.ask(job("acme")))
    lease_of(server.ask(job("acme")))
    swap = request(entries(lease=lease, hits=1, back=True), entries(tenant="acme", kind="job"))
    assert admitted(server.ask(swap))
    assert not admitted(server.ask(job("acme")))


def test_jobs_at_the_same_time_get_exactly_as_many_slots_as_there_are(serve):
    server = serve(JOBS)
    calls = [server.ask_later(job("acme")) for _ in range(60)]
    answers = [call.result() for call in calls]
    assert sum(admitted(answer) for answer in answers) == 2
    assert len({lease_of(answer) for answer in answers if admitted(answer)}) == 2


# Calls that are reset.


def settled(connection, server):
    """Returns once the server has read all that was sent, and answered a call that came after it."""
    stream = connection.new_stream()
    message = h2.grpc_message(one(unlimited="x").SerializeToString())
    connection.send(connection.call_headers(stream) + h2.frame(h2.DATA, h2.END_STREAM, stream, message))
    connection.answer(stream)
    assert server.alive()


def test_an_acquire_that_is_reset_before_its_answer_holds_no_slot(serve):
    server = serve(JOBS)
    message = h2.grpc_message(job("acme").SerializeToString())
    with h2.Connection(server.grpc_address) as connection:
        for _ in range(20):
            stream = connection.new_stream()
            connection.send(
                connection.call_headers(stream)
                + h2.frame(h2.DATA, h2.END_STREAM, stream, message)
                + h2.frame(h2.RST_STREAM, 0, stream, h2.CANCEL.to_bytes(4, "big"))
            )
        settled(connection, server)
    assert eventually(lambda: slots_left(server, "acme") == 2)
    assert [admitted(server.ask(job("acme"))) for _ in range(3)] == [True, True, False]


def test_an_acquire_whose_connection_breaks_half_way_holds_no_slot(serve):
    server = serve(JOBS)
    message = h2.grpc_message(job("acme").SerializeToString())
    for cut in (5, len(message) // 2, len(message)):
        with h2.Connection(server.grpc_address) as connection:
            stream = connection.new_stream()
            connection.send(connection.call_headers(stream) + h2.frame(h2.DATA, 0, stream, message[:cut]))
            settled(connection, server)
    assert eventually(lambda: slots_left(server, "acme") == 2)


def test_a_call_that_is_cancelled_leaves_the_others_alone(serve):
    server = serve(JOBS)
    for i in range(50):
        server.ask_later(one(tenant=f"t-{i}")).cancel()
    assert lease_of(server.ask(job("acme")))
    assert ratelimit.RateLimitResponse.OK == server.ask(one(tenant="acme")).overall_code


# The shipped policy.

IMPORT = {"tenant_type": "enterprise_production", "endpoint_group": "create_import_users_job"}


def test_the_third_import_job_is_denied_in_the_words_of_the_api(management_api, tenant):
    facts = {**IMPORT, "tenant": tenant, "domain": "management-api"}
    first, _second = (lease_of(management_api.ask(one(**facts))) for _ in range(2))
    third = management_api.ask(one(**facts))
    assert not admitted(third)
    assert json.loads(third.raw_body) == {
        "statusCode": 429,
        "error": "Too Many Requests",
        "message": "There are 2 active import users jobs, please wait until some of them are finished and try again",
    }
    release_first = request(entries(lease=first, hits=1, back=True), domain="management-api")
    assert admitted(management_api.ask(release_first))
    assert lease_of(management_api.ask(one(**facts)))
