"""The shipped policy, as a client of the Management API meets it.

A look tells the tightest bucket that a call meets, here the one per second where there is one, so no
test depends on how fast the buckets refill. The rows were read off the API's own page, not off the
policy file.
"""

import pytest

from messages import admitted, one, rate, remaining

SECOND, MINUTE, DAY = 1, 60, 86_400

TENANTS = [
    ("free", 10),
    ("trial", 10),
    ("self_service", 50),
    ("startup", 50),
    ("enterprise_production", 50),
    ("enterprise_non_production", 2),
    ("no such type", 10),
]

# Of the two plans' own tables: what an instance of each path is, and its calls per second.
ENTERPRISE = [
    ("GET /organizations", 10),
    ("GET /organizations/org_1", 10),
    ("GET /users/auth0%7C1/organizations", 40),
    ("GET /organizations/name/acme", 20),
    ("POST /organizations", 5),
    ("PATCH /organizations/org_1", 5),
    ("DELETE /organizations/org_1", 5),
    ("GET /organizations/org_1/members", 40),
    ("GET /organizations/org_1/invitations", 40),
    ("POST /organizations/org_1/members", 20),
    ("POST /organizations/org_1/invitations", 20),
    ("DELETE /organizations/org_1/members", 20),
    ("DELETE /organizations/org_1/invitations/inv_1", 20),
    ("GET /organizations/org_1/invitations/inv_1", 20),
    ("GET /organizations/org_1/members/auth0%7C1/roles", 20),
    ("POST /organizations/org_1/members/auth0%7C1/roles", 20),
    ("DELETE /organizations/org_1/members/auth0%7C1/roles", 20),
    ("GET /organizations/org_1/enabled_connections/", 10),
    ("GET /organizations/org_1/enabled_connections/con_1", 10),
    ("POST /organizations/org_1/enabled_connections", 5),
    ("PATCH /organizations/org_1/enabled_connections/con_1", 5),
    ("DELETE /organizations/org_1/enabled_connections", 5),
]
SELF_SERVICE = [
    ("GET /users", 40),
    ("GET /users-by-email?email=a%40b.c", 40),
    ("GET /users/auth0%7C1", 40),
    ("POST /users", 20),
    ("POST /users/auth0%7C1/identities", 20),
    ("PATCH /users/auth0%7C1", 20),
    ("DELETE /connections/con_1/users", 20),
    ("DELETE /users/auth0%7C1/identities/google-oauth2/1", 20),
    ("DELETE /users/auth0%7C1", 20),
    ("GET /logs", 10),
    ("GET /logs/log_1", 10),
    ("GET /users/auth0%7C1/logs", 10),
    ("GET /clients", 5),
    ("GET /clients/cli_1", 5),
    ("GET /connections", 10),
    ("GET /connections/con_1", 10),
    ("POST /device-credentials", 5),
    ("DELETE /device-credentials/dev_1", 5),
    ("GET /organizations", 10),
    ("GET /anything/else", 10),
]
# For all subscriptions.
EVERY = [
    ("POST /custom-domains/dom_1/verify", 5, MINUTE),
    ("GET /connections/con_1/status", 15, SECOND),
    ("POST /keys/signing/rotate", 5, DAY),
]


def look(server, tenant, **facts):
    """The rate of the tightest bucket that a call meets."""
    answer = server.ask(one(domain="management-api", tenant=tenant, hits=0, **facts))
    assert admitted(answer)
    return rate(answer.statuses[0])


def at(endpoint):
    """The two entries that Envoy sends of a request."""
    method, path = endpoint.split()
    return {"method": method, "path": f"/api/v2{path}"}


@pytest.mark.parametrize(("tenant_type", "per_second"), TENANTS)
def test_a_tenant_has_the_burst_of_its_type(management_api, tenant, tenant_type, per_second):
    # Unlimited among the self-service endpoints, so that the tenant's own bucket is the tightest
    # but for the endpoint's 15 a second.
    facts = {"tenant_type": tenant_type, "endpoint_group": "read_connection_status"}
    assert look(management_api, tenant, **facts) == (min(per_second, 15), SECOND)


@pytest.mark.parametrize("tenant_type", ["startup", "enterprise_production"])
def test_an_enterprise_tenant_has_fifty_a_second_for_all_it_calls(management_api, tenant, tenant_type):
    assert look(management_api, tenant, tenant_type=tenant_type, **at("GET /anything/else")) == (50, SECOND)


@pytest.mark.parametrize("tenant_type", ["startup", "enterprise_production"])
@pytest.mark.parametrize(("endpoint", "per_second"), ENTERPRISE, ids=lambda value: str(value))
def test_an_enterprise_endpoint_has_its_own_rate(management_api, tenant, tenant_type, endpoint, per_second):
    assert look(management_api, tenant, tenant_type=tenant_type, **at(endpoint)) == (per_second, SECOND)


@pytest.mark.parametrize(("endpoint", "per_second"), SELF_SERVICE, ids=lambda value: str(value))
def test_a_self_service_endpoint_has_its_own_rate(management_api, tenant, endpoint, per_second):
    assert look(management_api, tenant, tenant_type="self_service", **at(endpoint)) == (per_second, SECOND)


@pytest.mark.parametrize("tenant_type", ["self_service", "startup", "enterprise_production", "no such type"])
@pytest.mark.parametrize(("endpoint", "count", "seconds"), EVERY, ids=lambda value: str(value))
def test_an_endpoint_of_every_subscription_has_its_own_rate(
    management_api, tenant, tenant_type, endpoint, count, seconds
):
    expected = min((count, seconds), (10, SECOND)) if tenant_type == "no such type" else (count, seconds)
    assert look(management_api, tenant, tenant_type=tenant_type, **at(endpoint)) == expected


def test_signing_keys_can_be_rotated_five_times_a_day(management_api, tenant):
    by_path, by_group = at("POST /keys/signing/rotate"), {"endpoint_group": "rotate_signing_keys"}
    answers = [
        management_api.ask(one(domain="management-api", tenant=tenant, tenant_type="startup", **facts))
        for facts in (by_path, by_group) * 3
    ]
    assert [admitted(answer) for answer in answers] == [True] * 5 + [False]
    assert [remaining(answer) for answer in answers] == [[4], [3], [2], [1], [0], [0]]
    other = one(domain="management-api", tenant=f"{tenant}-other", tenant_type="startup", **by_path)
    assert admitted(management_api.ask(other))


def test_registration_is_counted_by_the_address_it_comes_from(management_api, tenant):
    def registers(address):
        facts = {"tenant_type": "startup", "remote_address": address, "method": "POST", "path": "/oidc/register"}
        return management_api.ask(one(domain="management-api", tenant=tenant, **facts, hits=5))

    assert rate(registers("192.0.2.1").statuses[0]) == (5, SECOND)
    assert [admitted(registers(f"192.0.2.{i}")) for i in range(2, 6)] == [True] * 4


def test_a_token_of_a_single_page_application_has_ten_calls_a_minute_for_each_user(management_api, tenant):
    facts = {"tenant_type": "enterprise_production", "endpoint_group": "read_user_organizations"}
    assert look(management_api, tenant, **facts, user="ann", scope="current_user") == (10, MINUTE)
    assert look(management_api, tenant, **facts, user="ann", scope="other") == (40, SECOND)
    ten = one(domain="management-api", tenant=tenant, **facts, user="ann", scope="current_user", hits=11)
    assert not admitted(management_api.ask(ten))


def test_the_policy_is_of_its_own_domain_only(management_api, tenant):
    assert admitted(management_api.ask(one(domain="management_api", tenant=tenant, tenant_type="free", hits=1_000)))
