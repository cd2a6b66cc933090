"""How a request is decided, seen from outside."""

import pytest

from messages import (
    OK,
    OVER_LIMIT,
    Unit,
    admitted,
    entries,
    look,
    one,
    rate,
    refused_as_invalid,
    remaining,
    request,
    seconds_until_reset,
)
from policies import FIVE_A_DAY, HOUR_AND_DAY

# One bucket.


def test_a_bucket_starts_full_and_admits_its_size_and_no_more(serve):
    server = serve(FIVE_A_DAY)
    answers = [server.ask(one(tenant="acme")) for _ in range(7)]
    assert [admitted(answer) for answer in answers] == [True] * 5 + [False] * 2
    assert [remaining(answer) for answer in answers] == [[4], [3], [2], [1], [0], [0], [0]]
    assert look(server, tenant="other") == 5


def test_a_denied_call_takes_nothing(serve):
    server = serve(FIVE_A_DAY)
    assert admitted(server.ask(one(tenant="acme", hits=3)))
    denied = server.ask(one(tenant="acme", hits=3))
    assert not admitted(denied)
    assert remaining(denied) == [2]
    assert admitted(server.ask(one(tenant="acme", hits=2)))


def test_calls_at_the_same_time_are_admitted_exactly_as_often_as_the_bucket_has_tokens(serve):
    server = serve(HOUR_AND_DAY)
    calls = [server.ask_later(one(plan="large", tenant="acme")) for _ in range(250)]
    assert sum(admitted(call.result()) for call in calls) == 100


def test_a_status_tells_the_rate_and_the_time_until_the_bucket_is_full(serve):
    server = serve(FIVE_A_DAY)
    status = server.ask(one(tenant="acme", hits=2)).statuses[0]
    assert rate(status) == (5, 86_400)
    assert not status.current_limit.HasField("unit_multiplier") or status.current_limit.unit_multiplier.value == 1
    two_tokens = 2 * 86_400 / 5
    assert two_tokens - 600 < seconds_until_reset(status) <= two_tokens


def test_a_status_tells_a_period_of_several_units(serve):
    server = serve(
        """
        domain: test
        tables:
          - { name: slow, key: [tenant], rows: { all: [{ rate: 3, every: 5h }] } }
        """
    )
    status = server.ask(one(tenant="acme")).statuses[0]
    assert rate(status) == (3, 5 * 3_600)
    assert status.limit_remaining == 2


# Hits.


def test_a_look_takes_nothing(serve):
    server = serve(FIVE_A_DAY)
    for _ in range(3):
        answer = server.ask(one(tenant="acme", hits=0))
        assert admitted(answer)
        assert remaining(answer) == [5]


def test_hits_of_the_request_count_where_a_descriptor_has_none_of_its_own(serve):
    server = serve(FIVE_A_DAY)
    both = request(entries(tenant="acme"), entries(tenant="other", hits=1), hits=3)
    assert remaining(server.ask(both)) == [2, 4]


def test_hits_of_zero_on_the_request_mean_one(serve):
    server = serve(FIVE_A_DAY)
    assert remaining(server.ask(one(tenant="acme", request_hits=0))) == [4]


@pytest.mark.parametrize("hits", [6, 1_067_521, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_more_hits_than_a_bucket_ever_holds_are_over_limit_and_take_nothing(serve, hits):
    server = serve(FIVE_A_DAY)
    answer = server.ask(one(tenant="acme", hits=hits))
    assert answer.overall_code == OVER_LIMIT
    assert answer.statuses[0].code == OVER_LIMIT
    assert remaining(answer) == [5]


# Several descriptors, several buckets.


def test_a_request_denied_by_one_descriptor_is_charged_to_none(serve):
    server = serve(FIVE_A_DAY)
    server.ask(one(tenant="empty", hits=5))
    both_ways = [("full", "empty"), ("empty", "full")]
    for order in both_ways:
        answer = server.ask(request(*[entries(tenant=tenant) for tenant in order]))
        assert not admitted(answer)
        codes = dict(zip(order, (status.code for status in answer.statuses), strict=True))
        assert codes == {"full": OK, "empty": OVER_LIMIT}
        left = dict(zip(order, remaining(answer), strict=True))
        assert left == {"full": 5, "empty": 0}
    assert look(server, tenant="full") == 5


@pytest.mark.parametrize("plan", ["small", "small, told backwards"])
def test_a_request_denied_by_one_bucket_of_a_row_is_charged_to_none(serve, plan):
    server = serve(HOUR_AND_DAY)
    for _ in range(5):
        assert not admitted(server.ask(one(plan=plan, tenant="acme", hits=4))), "the hour never holds 4"
    status = server.ask(one(plan=plan, tenant="acme", hits=0)).statuses[0]
    assert (rate(status), status.limit_remaining) == ((3, 3_600), 3), "the day was charged: it now has less left"


def test_a_request_denied_by_one_table_is_charged_in_no_other(serve):
    server = serve(HOUR_AND_DAY)
    server.ask(one(tenant="acme", user="ann", plan="large", hits=4))  # ann's own budget is 4
    assert not admitted(server.ask(one(tenant="acme", user="ann", plan="large")))
    assert look(server, tenant="acme", plan="large") == 96


def test_a_bucket_met_by_several_descriptors_is_charged_once_by_the_largest_hits(serve):
    server = serve(FIVE_A_DAY)
    answer = server.ask(
        request(entries(tenant="acme", hits=2), entries(tenant="acme", hits=3), entries(tenant="acme", hits=0))
    )
    assert admitted(answer)
    assert remaining(answer) == [2, 2, 2]
    assert look(server, tenant="acme") == 2


def test_the_status_of_a_denied_descriptor_is_the_bucket_that_takes_longest_to_admit_it(serve):
    server = serve(HOUR_AND_DAY)
    facts = {"plan": "small", "tenant": "acme"}
    server.ask(one(**facts, hits=3))
    assert rate(server.ask(one(**facts)).statuses[0]) == (3, 3_600)
    server.ask(one(tenant="acme", user="ann", plan="house", hits=4))
    denied = server.ask(one(**facts, user="ann"))  # 20 minutes for the hour, 6 hours for ann
    assert rate(denied.statuses[0]) == (4, 86_400)


def test_the_status_of_an_admitted_descriptor_is_the_bucket_with_the_least_left(serve):
    server = serve(HOUR_AND_DAY)
    admitted_call = server.ask(one(plan="small", tenant="acme"))
    assert (rate(admitted_call.statuses[0]), remaining(admitted_call)) == ((3, 3_600), [2])


def test_there_is_one_status_for_each_descriptor_in_order_also_where_nothing_is_met(serve):
    server = serve(FIVE_A_DAY)
    answer = server.ask(
        request(entries(tenant="acme"), entries(unknown="x"), entries(tenant="other", hits=2), entries(tenant="acme"))
    )
    assert [status.code for status in answer.statuses] == [OK] * 4
    assert [status.HasField("current_limit") for status in answer.statuses] == [True, False, True, True]
    assert remaining(answer) == [4, 0, 3, 4], "what meets nothing has nothing left to tell"


# Giving back.


def test_negative_hits_give_back_up_to_full_and_never_beyond(serve):
    server = serve(FIVE_A_DAY)
    server.ask(one(tenant="acme", hits=4))
    assert remaining(server.ask(one(tenant="acme", hits=2, back=True))) == [3]
    assert remaining(server.ask(one(tenant="acme", hits=1_000, back=True))) == [5]
    assert [admitted(server.ask(one(tenant="acme"))) for _ in range(6)] == [True] * 5 + [False]


def test_negative_hits_without_a_number_give_back_one(serve):
    server = serve(FIVE_A_DAY)
    server.ask(one(tenant="acme", hits=4))
    assert admitted(server.ask(one(tenant="acme", back=True)))
    assert look(server, tenant="acme") == 2


def test_negative_hits_pass_where_the_bucket_is_empty(serve):
    server = serve(FIVE_A_DAY)
    server.ask(one(tenant="acme", hits=5))
    assert admitted(server.ask(one(tenant="acme", hits=2, back=True)))
    assert look(server, tenant="acme") == 2


# A limit that comes with the request.


def test_a_limit_in_the_request_takes_the_place_of_the_buckets_met(serve):
    server = serve(FIVE_A_DAY)
    limited = one(tenant="acme", limit=(2, "HOUR", 3))
    answers = [server.ask(limited) for _ in range(3)]
    assert [admitted(answer) for answer in answers] == [True, True, False]
    status = answers[0].statuses[0]
    assert (status.current_limit.requests_per_unit, status.current_limit.unit) == (2, Unit.HOUR)
    assert status.current_limit.unit_multiplier.value == 3
    assert 3 * 3_600 / 2 - 600 < seconds_until_reset(status) <= 3 * 3_600 / 2
    assert look(server, tenant="acme") == 5, "the tenant's own bucket was not to be touched"
    assert admitted(server.ask(one(tenant="other", limit=(2, "HOUR", 3)))), "another tenant, another bucket"


def test_two_limits_in_one_request_are_each_kept_in_either_order(serve):
    """Equal entries, different limits: whatever bucket is meant, no status has more left than its limit."""
    server = serve(FIVE_A_DAY)
    large = {"limit": (100, "DAY"), "hits": 50}
    small = {"limit": (10, "DAY"), "hits": 1}
    codes = set()
    for tenant, order in (("a", (large, small)), ("b", (small, large))):
        answer = server.ask(request(*[entries(tenant=tenant, **facts) for facts in order]))
        codes.add(answer.overall_code)
        for status, facts in zip(answer.statuses, order, strict=True):
            assert rate(status) == (facts["limit"][0], 86_400)
            assert status.limit_remaining <= facts["limit"][0]
    assert len(codes) == 1, "the order of the descriptors decided"


def test_a_larger_limit_in_the_request_lifts_the_one_of_the_policy(serve):
    server = serve(FIVE_A_DAY)
    assert remaining(server.ask(one(tenant="acme", hits=50, limit=(100, "DAY")))) == [50]


def test_a_limit_in_the_request_holds_where_no_table_matches(serve):
    server = serve(FIVE_A_DAY)
    answers = [server.ask(one(plan="x", user="ann", limit=(1, "DAY"))) for _ in range(2)]
    assert [admitted(answer) for answer in answers] == [True, False]
    assert admitted(server.ask(one(plan="x", user="bob", limit=(1, "DAY"))))


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("SECOND", 1), ("MINUTE", 60), ("HOUR", 3_600), ("DAY", 86_400), ("MONTH", 2_592_000), ("YEAR", 31_536_000)],
)
def test_a_limit_in_the_request_may_have_any_unit(serve, unit, seconds):
    server = serve(FIVE_A_DAY)
    assert rate(server.ask(one(tenant="acme", limit=(7, unit))).statuses[0]) == (7, seconds)


@pytest.mark.parametrize(
    "limit",
    [(5, "UNKNOWN"), (0, "UNKNOWN")],
    ids=["no unit", "nothing"],
)
def test_a_limit_in_the_request_without_a_unit_is_invalid_and_takes_nothing(serve, limit):
    server = serve(FIVE_A_DAY)
    assert "limit" in refused_as_invalid(server, request(entries(tenant="acme"), entries(tenant="x", limit=limit)))
    assert look(server, tenant="acme") == 5


@pytest.mark.parametrize("limit", [(0, "HOUR"), (0, "YEAR", 0xFFFFFFFF)])
def test_a_limit_of_no_requests_denies_and_takes_nothing(serve, limit):
    server = serve(FIVE_A_DAY)
    assert not admitted(server.ask(request(entries(tenant="acme"), entries(tenant="x", limit=limit))))
    assert look(server, tenant="acme") == 5


def test_a_limit_of_no_units_is_one_of_one_unit(serve):
    server = serve(FIVE_A_DAY)
    assert rate(server.ask(one(tenant="acme", limit=(5, "HOUR", 0))).statuses[0]) == (5, 3_600)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        ((0xFFFFFFFF, "SECOND"), (1_000_000, 1)),
        ((0xFFFFFFFF, "YEAR", 0xFFFFFFFF), (0xFFFFFFFF, 146 * 31_536_000)),
        ((1, "YEAR", 0xFFFFFFFF), (1, 146 * 31_536_000)),
    ],
)
def test_an_extreme_limit_in_the_request_is_kept_as_far_as_it_can_be(serve, limit, kept):
    server = serve(FIVE_A_DAY)
    assert rate(server.ask(one(tenant="acme", limit=limit)).statuses[0]) == kept
    assert not admitted(server.ask(one(tenant="acme", limit=limit, hits=(1 << 63) - 1)))
    assert look(server, tenant="other") == 5
