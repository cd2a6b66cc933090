"""Which calls a policy speaks of: conditions, endpoints, addresses, overrides, bypass, shadow."""

import pytest

from messages import OK, OVER_LIMIT, admitted, entries, one, rate, remaining, request

# Conditions.


@pytest.mark.parametrize(
    ("condition", "met_by", "not_met_by"),
    [
        ("free", ["free"], ["Free", "free2", "fre", "", None]),
        ("{ equal: free }", ["free"], ["freedom", None]),
        ("{ equal: 'free*' }", ["free*"], ["free", "freedom", None]),
        ("[free, trial]", ["free", "trial"], ["fre", "free,trial", "", None]),
        ("{ one_of: [free, trial] }", ["free", "trial"], ["paid", None]),
        ("free*", ["free", "freedom", "free*"], ["fre", "Free", "a free", None]),
        ("{ prefix: free }", ["free", "freedom"], ["fre", None]),
        ("[trial, free*]", ["trial", "freedom"], ["trials", None]),
        ("{ present: true }", ["free", ""], [None]),
        ("{ absent: true }", [None], ["free", ""]),
    ],
)
def test_a_table_applies_exactly_where_its_condition_holds(serve, condition, met_by, not_met_by):
    server = serve(
        f"""
        domain: test
        tables:
          - name: some
            when: {{ plan: {condition} }}
            key: [tenant]
            rows: {{ all: [{{ per_day: 5 }}] }}
        """
    )

    def is_limited(plan):
        facts = {} if plan is None else {"plan": plan}
        return server.ask(one(tenant="acme", hits=0, **facts)).statuses[0].HasField("current_limit")

    assert [plan for plan in met_by if not is_limited(plan)] == []
    assert [plan for plan in not_met_by if is_limited(plan)] == []


def test_several_conditions_must_all_hold(serve):
    server = serve(
        """
        domain: test
        tables:
          - name: some
            when: { plan: free, region: [eu, us] }
            key: [tenant]
            rows: { all: [{ per_day: 1 }] }
        """
    )
    for facts in ({"plan": "free"}, {"region": "eu"}, {"plan": "free", "region": "asia"}):
        assert admitted(server.ask(one(tenant="acme", hits=9, **facts))), facts
    assert not admitted(server.ask(one(tenant="acme", hits=9, plan="free", region="us")))


def test_a_network_condition_holds_within_the_network_however_the_address_is_written(serve):
    server = serve(
        """
        domain: test
        tables:
          - name: inside
            when: { remote_address: { cidr: [10.0.0.0/8, "2001:db8::/32"] } }
            key: [tenant]
            rows: { all: [{ per_day: 5 }] }
        """
    )

    def is_limited(address):
        answer = server.ask(one(tenant="acme", remote_address=address, hits=0))
        return answer.statuses[0].HasField("current_limit")

    inside = ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "::FFFF:0a01:0203", "2001:db8::1", "2001:DB8:0:0::1", "10.0.0.1:80"]
    outside = ["11.0.0.0", "9.255.255.255", "::10.1.2.3", "2001:db9::1", "10.1", "10.0.0.1:no", "ten", ""]
    assert [address for address in inside if not is_limited(address)] == []
    assert [address for address in outside if is_limited(address)] == []


# Endpoints.

ENDPOINTS = """
    domain: test
    endpoint_groups:
      read_users: [GET /users, "GET /users/{id}"]
      write_users: [POST /users, "PATCH /users/{id}"]
      read_roles: ["GET /users/{user}/roles"]
      me: [GET /users/me]
    tables:
      - name: endpoints
        select: endpoint_group
        key: [tenant]
        rows:
          read_users: [{ per_day: 11 }]
          write_users: [{ per_day: 12 }]
          read_roles: [{ per_day: 13 }]
          me: [{ per_day: 14 }]
          default: [{ per_day: 19 }]
"""


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("GET", "/users", 11),
        ("GET", "/users/", 11),
        ("GET", "/users?page=2&q=/users/1/roles", 11),
        ("GET", "/users/?page=2", 11),
        ("GET", "/users/auth0%7C1", 11),
        ("POST", "/users", 12),
        ("PATCH", "/users/1", 12),
        ("GET", "/users/1/roles", 13),
        ("GET", "/users/1/roles/", 13),
        ("GET", "/users/me", 14),
        ("GET", "/users/me/roles", 13),
        ("DELETE", "/users", 19),
        ("get", "/users", 19),
        ("GET", "/Users", 19),
        ("GET", "/users//roles", 11),
        ("HEAD", "/users;page=2", 11),
        ("GET", "/%75sers/./1/../1", 11),
        ("GET", "/users/1/2/roles", 19),
        ("GET", "/users/1/roles/2", 19),
        ("GET", "/v1/users", 19),
        ("GET", "/", 19),
        ("GET", "", 19),
        ("GET", "users", 19),
        ("GET", "/users/{id}/x", 19),
    ],
)
def test_an_endpoint_group_is_found_by_method_and_path(serve, method, path, limit):
    server = serve(ENDPOINTS)
    answer = server.ask(one(tenant="acme", method=method, path=path, hits=0))
    assert rate(answer.statuses[0]) == (limit, 86_400)


def test_an_endpoint_group_that_is_sent_wins_over_method_and_path(serve):
    server = serve(ENDPOINTS)
    facts = {"tenant": "acme", "method": "GET", "path": "/users", "hits": 0}
    assert rate(server.ask(one(**facts, endpoint_group="me")).statuses[0]) == (14, 86_400)
    assert rate(server.ask(one(**facts, endpoint_group="no such group")).statuses[0]) == (19, 86_400)


def test_method_alone_or_path_alone_is_no_endpoint(serve):
    server = serve(ENDPOINTS)
    assert rate(server.ask(one(tenant="acme", method="GET", hits=0)).statuses[0]) == (19, 86_400)
    assert rate(server.ask(one(tenant="acme", path="/users", hits=0)).statuses[0]) == (19, 86_400)


# Addresses as keys.

BY_ADDRESS = """
    domain: test
    tables:
      - name: address
        key: [remote_address]
        rows: { all: [{ per_day: 5 }] }
"""


def share_a_bucket(server, first, second):
    server.ask(one(remote_address=first, hits=2))
    return remaining(server.ask(one(remote_address=second, hits=0))) == [3]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "::c000:201", False),
        ("not an address", "not an address", True),
        ("not an address", "nor this", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(serve, first, second, together):
    assert share_a_bucket(serve(BY_ADDRESS), first, second) is together


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:1:1::1", "2001:db8:1:2::1", True),
        ("2001:db8:1:1::1", "2001:db8:2:1::1", False),
    ],
)
def test_a_table_may_set_its_own_prefixes(serve, first, second, together):
    policy = BY_ADDRESS.replace(
        "key: [remote_address]", "key: [remote_address]\n        prefix: { ipv4: 24, ipv6: 48 }"
    )
    assert share_a_bucket(serve(policy), first, second) is together


# Overrides.

OVERRIDES = """
    domain: test
    tables:
      - name: plan
        select: plan
        key: [tenant]
        rows:
          free: [{ per_day: 2 }]
          paid: [{ per_day: 4 }]
    overrides:
      - { table: plan, when: { tenant: vip }, until: 2100-01-01T00:00:00Z, buckets: [{ per_day: 50 }] }
      - { table: plan, when: { tenant: was-vip }, until: 2020-01-01T00:00:00Z, buckets: [{ per_day: 50 }] }
      - { table: plan, when: { tenant: house }, buckets: unlimited }
      - { table: plan, row: paid, when: { tenant: "partner-*" }, buckets: [{ per_day: 30 }] }
"""


@pytest.mark.parametrize(
    ("tenant", "plan", "limit"),
    [
        ("anyone", "free", 2),
        ("anyone", "paid", 4),
        ("vip", "free", 50),
        ("vip", "paid", 50),
        ("was-vip", "free", 2),
        ("partner-1", "paid", 30),
        ("partner-1", "free", 2),
    ],
)
def test_an_override_counts_for_whom_it_names_until_its_date(serve, tenant, plan, limit):
    answer = serve(OVERRIDES).ask(one(tenant=tenant, plan=plan, hits=0))
    assert rate(answer.statuses[0]) == (limit, 86_400)
    assert remaining(answer) == [limit]


def test_an_override_may_lift_a_limit_altogether(serve):
    server = serve(OVERRIDES)
    assert admitted(server.ask(one(tenant="house", plan="free", hits=1_000)))


def test_an_override_does_not_reach_a_call_that_its_table_does_not_match(serve):
    answer = serve(OVERRIDES).ask(one(tenant="vip", plan="unknown", hits=0))
    assert not answer.statuses[0].HasField("current_limit")


# Bypass.

BYPASS = """
    domain: test
    tables:
      - { name: tenant, key: [tenant], rows: { all: [{ per_day: 1 }] } }
    bypass:
      - { remote_address: { cidr: [10.0.0.0/8, "fd00::/8"] } }
      - { tenant: house, scope: internal }
"""


@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"])
def test_a_bypass_lets_calls_through_uncounted(serve, address):
    server = serve(BYPASS)
    for _ in range(5):
        assert admitted(server.ask(one(tenant="acme", remote_address=address)))
    assert remaining(server.ask(one(tenant="acme", hits=0))) == [1]


def test_a_bypass_met_by_one_descriptor_lets_the_whole_request_through_uncounted(serve):
    server = serve(BYPASS)
    answer = server.ask(request(entries(tenant="acme", hits=9), entries(remote_address="10.0.0.1")))
    assert admitted(answer)
    assert [status.code for status in answer.statuses] == [OK, OK]
    assert remaining(server.ask(one(tenant="acme", hits=0))) == [1]


def test_a_bypass_of_several_conditions_needs_them_all_in_one_descriptor(serve):
    server = serve(BYPASS)
    assert admitted(server.ask(one(tenant="house", scope="internal", hits=9)))
    assert not admitted(server.ask(one(tenant="house", hits=9)))
    assert not admitted(server.ask(request(entries(tenant="house", hits=9), entries(scope="internal"))))


# Shadow.


def test_a_shadow_table_counts_but_never_denies(serve):
    server = serve(
        """
        domain: test
        tables:
          - { name: trial, shadow: true, key: [tenant], rows: { all: [{ per_day: 2 }] } }
        """
    )
    answers = [server.ask(one(tenant="acme")) for _ in range(4)]
    assert all(admitted(answer) for answer in answers)
    assert all(status.code == OK for answer in answers for status in answer.statuses)
    assert all(not answer.raw_body for answer in answers)


def test_a_shadow_row_never_denies_and_the_other_rows_do(serve):
    server = serve(
        """
        domain: test
        tables:
          - name: plan
            select: plan
            key: [tenant]
            rows:
              watched: { shadow: true, buckets: [{ per_day: 1 }] }
              free: [{ per_day: 1 }]
        """
    )
    assert [admitted(server.ask(one(tenant="a", plan="watched"))) for _ in range(3)] == [True] * 3
    assert [admitted(server.ask(one(tenant="b", plan="free"))) for _ in range(3)] == [True, False, False]


def test_a_shadow_table_does_not_keep_another_from_denying(serve):
    server = serve(
        """
        domain: test
        tables:
          - { name: trial, shadow: true, key: [tenant], rows: { all: [{ per_day: 1 }] } }
          - { name: real, key: [tenant], rows: { all: [{ per_day: 3 }] } }
        """
    )
    answers = [server.ask(one(tenant="acme")) for _ in range(5)]
    assert [answer.overall_code for answer in answers] == [OK] * 3 + [OVER_LIMIT] * 2
    assert rate(answers[4].statuses[0]) == (3, 86_400)
