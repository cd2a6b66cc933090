"""Which bucket a call means, and which calls mean none or are no calls at all."""

import pytest

from messages import admitted, entries, look, one, rate, refused_as_invalid, remaining, request
from policies import FIVE_A_DAY, HOUR_AND_DAY

# Which bucket.


def test_values_that_look_alike_when_joined_name_different_buckets(serve):
    server = serve(HOUR_AND_DAY)
    pairs = [
        ("a_b", "c"),
        ("a", "b_c"),
        ("a|b", "c"),
        ("a", "b|c"),
        ("ab", "c"),
        ("a", "bc"),
        ("a,b", "c"),
        ("a", "b,c"),
    ]
    pairs += [("a\0b", "c"), ("a", "b\0c"), ("", "abc"), ("abc", "")]
    for tenant, user in pairs:
        answer = server.ask(one(plan="house", tenant=tenant, user=user))
        assert remaining(answer) == [3], (tenant, user)


def test_a_value_is_compared_whole_and_with_its_case(serve):
    server = serve(FIVE_A_DAY)
    for tenant in ("acme", "Acme", "ACME", "acme ", " acme", "acmé", "acme\u0301"):
        assert remaining(server.ask(one(tenant=tenant))) == [4], tenant


def test_the_order_of_entries_does_not_matter_to_a_bucket(serve):
    server = serve(HOUR_AND_DAY)
    assert remaining(server.ask(request(entries(("plan", "house"), ("tenant", "acme"), ("user", "ann"))))) == [3]
    assert remaining(server.ask(request(entries(("user", "ann"), ("tenant", "acme"), ("plan", "house"))))) == [2]


def test_a_row_is_picked_by_the_exact_value_and_otherwise_takes_the_rest(serve):
    server = serve(HOUR_AND_DAY)

    def limit(**facts):
        return rate(server.ask(one(tenant="acme", hits=0, **facts)).statuses[0])

    assert limit(plan="small") == (3, 3_600)
    assert limit(plan="large") == (50, 86_400)
    for other in ("medium", "Small", "smal", "small*", "default", ""):
        assert limit(plan=other) == (2, 86_400), other
    assert limit() == (2, 86_400)


def test_all_that_otherwise_takes_share_one_bucket(serve):
    server = serve(HOUR_AND_DAY)
    assert admitted(server.ask(one(tenant="acme", plan="medium")))
    assert admitted(server.ask(one(tenant="acme", plan="tiny")))
    assert not admitted(server.ask(one(tenant="acme")))


def test_an_unlimited_row_meets_no_bucket(serve):
    server = serve(HOUR_AND_DAY)
    answer = server.ask(one(tenant="acme", plan="house", hits=1_000_000))
    assert admitted(answer)
    assert not answer.statuses[0].HasField("current_limit")


def test_a_table_whose_key_entry_is_missing_does_not_match(serve):
    server = serve(HOUR_AND_DAY)
    answer = server.ask(one(user="ann", plan="small", hits=1_000))
    assert admitted(answer)
    assert not answer.statuses[0].HasField("current_limit")


def test_a_size_is_what_a_bucket_holds_and_a_rate_what_it_gains(serve):
    server = serve(HOUR_AND_DAY)
    answer = server.ask(one(tenant="acme", plan="large", hits=60))
    assert remaining(answer) == [40]
    assert rate(answer.statuses[0]) == (50, 86_400)


# What cannot be decided.


def test_an_unknown_domain_is_ok(serve):
    server = serve(FIVE_A_DAY)
    for _ in range(10):
        answer = server.ask(one(domain="nobody's", tenant="acme"))
        assert admitted(answer)
        assert len(answer.statuses) == 1


def test_a_domain_is_matched_whole_and_with_its_case(serve):
    server = serve(FIVE_A_DAY)
    for domain in ("Test", "test ", "tes", "testt"):
        assert admitted(server.ask(one(domain=domain, tenant="acme", hits=1_000))), domain


def test_an_empty_domain_is_invalid_in_the_references_words(serve):
    assert refused_as_invalid(serve(FIVE_A_DAY), one(domain="", tenant="acme")) == "rate limit domain must not be empty"


def test_no_descriptors_are_invalid_in_the_references_words(serve):
    assert refused_as_invalid(serve(FIVE_A_DAY), request()) == "rate limit descriptor list must not be empty"


def test_an_empty_domain_is_told_before_the_lack_of_descriptors(serve):
    assert "domain" in refused_as_invalid(serve(FIVE_A_DAY), request(domain=""))


def test_a_descriptor_without_entries_is_invalid_and_the_others_take_nothing(serve):
    server = serve(FIVE_A_DAY)
    assert "entries" in refused_as_invalid(server, request(entries(tenant="acme"), entries()))
    assert look(server, tenant="acme") == 5


def test_an_entry_without_a_key_is_invalid(serve):
    server = serve(FIVE_A_DAY)
    assert "key" in refused_as_invalid(server, request(entries(("tenant", "acme"), ("", "x"))))
    assert look(server, tenant="acme") == 5


def test_invalid_requests_leave_the_server_serving(serve):
    server = serve(FIVE_A_DAY)
    for _ in range(50):
        refused_as_invalid(server, request())
    assert remaining(server.ask(one(tenant="acme"))) == [4]
