"""What the other commands print, and how they end."""

import json

import pytest

from messages import admitted, one
from tollgate import SHIPPED_POLICY, run, write_policy

ROTATE = ["tenant_type=startup", "endpoint_group=rotate_signing_keys"]
IMPORT = ["tenant_type=startup", "endpoint_group=create_import_users_job"]


def query(server, *arguments):
    return run("query", "--addr", server.grpc_address, "--domain", "management-api", *arguments)


# check


def test_check_tells_what_it_loaded():
    ended = run("check", SHIPPED_POLICY)
    assert ended.returncode == 0, ended
    assert "management-api" in ended.stdout


def test_check_tells_every_error_of_every_file(tmp_path):
    write_policy(tmp_path, "domain: one\ntabels: []\n", "one.yaml")
    write_policy(tmp_path, "domain: two\nheaders: epoc\ntables: [{ name: t, key: [], rows: { all: unlimited } }]\n", "two.yaml")
    ended = run("check", tmp_path)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert "one.yaml:2" in told
    assert "did you mean `tables`" in told
    assert "two.yaml:2" in told
    assert "did you mean `epoch`" in told


def test_check_refuses_two_files_of_one_domain(tmp_path):
    for name in ("one.yaml", "two.yaml"):
        write_policy(tmp_path, "domain: same\ntables: [{ name: t, key: [], rows: { all: unlimited } }]\n", name)
    ended = run("check", tmp_path)
    assert ended.returncode == 1
    assert "two.yaml" in ended.stdout + ended.stderr
    assert "one.yaml" in ended.stdout + ended.stderr


# explain


def test_explain_tells_the_group_the_rows_and_the_buckets_of_a_call():
    facts = ["tenant_type=free", "tenant=acme", "method=GET", "path=/api/v2/users?page=1"]
    ended = run("explain", "--config", SHIPPED_POLICY, *facts)
    assert ended.returncode == 0, ended
    for told in ("read_users", "10 per second", "120 per minute", "40 per second", "500 per minute"):
        assert told in ended.stdout


@pytest.mark.parametrize("argument", ["tenant", "=acme", ""])
def test_explain_refuses_what_is_no_entry(argument):
    ended = run("explain", "--config", SHIPPED_POLICY, argument)
    assert ended.returncode == 2
    assert "KEY=VALUE" in ended.stderr


# query


def test_query_asks_the_server_and_ends_with_0_or_1(management_api, tenant):
    ended = [query(management_api, f"tenant={tenant}", *ROTATE) for _ in range(6)]
    assert [end.returncode for end in ended] == [0] * 5 + [1]
    assert ended[0].stdout.startswith("OK\n")
    assert "4 left" in ended[0].stdout
    assert ended[5].stdout.startswith("OVER_LIMIT\n")
    assert "retry-after" in ended[5].stdout


def test_query_charges_the_hits_it_is_told_to(management_api, tenant):
    assert "2 left" in query(management_api, "--hits", 3, f"tenant={tenant}", *ROTATE).stdout
    assert "2 left" in query(management_api, "--hits", 0, f"tenant={tenant}", *ROTATE).stdout
    assert "4 left" in query(management_api, "--hits", 2, "--release", f"tenant={tenant}", *ROTATE).stdout
    assert query(management_api, "--hits", 5, f"tenant={tenant}", *ROTATE).returncode == 1


def test_query_prints_json_for_a_program(management_api, tenant):
    answer = json.loads(query(management_api, "--json", f"tenant={tenant}", *ROTATE).stdout)
    assert answer["overallCode"] == "OK"
    assert answer["statuses"][0]["limitRemaining"] == 4


def test_query_shows_the_body_of_a_denial_as_the_client_gets_it(management_api, tenant):
    denied = query(management_api, "--hits", 6, f"tenant={tenant}", *ROTATE)
    assert '"statusCode":429' in denied.stdout


def test_query_takes_a_lease_and_releases_it(management_api, tenant):
    taken = [json.loads(query(management_api, "--json", f"tenant={tenant}", *IMPORT).stdout) for _ in range(2)]
    leases = [answer["dynamicMetadata"]["lease"] for answer in taken]
    assert query(management_api, f"tenant={tenant}", *IMPORT).returncode == 1
    assert query(management_api, "--release", f"lease={leases[0]}").returncode == 0
    facts = {"tenant": tenant, "tenant_type": "startup", "endpoint_group": "create_import_users_job"}
    assert admitted(management_api.ask(one(domain="management-api", **facts)))


def test_query_shows_a_person_the_lease_to_release(management_api, tenant):
    shown = query(management_api, f"tenant={tenant}", *IMPORT).stdout
    told = json.loads(query(management_api, "--json", f"tenant={tenant}", *IMPORT).stdout)
    lease = told["dynamicMetadata"]["lease"]
    assert "lease" in shown
    assert len(lease) == 32


def test_query_tells_what_the_server_refused(management_api):
    ended = run("query", "--addr", management_api.grpc_address, "--domain", "", "tenant=acme")
    assert ended.returncode == 2
    assert "rate limit domain must not be empty" in ended.stderr


def test_query_tells_that_there_is_no_server():
    ended = run("query", "--addr", "127.0.0.1:1", "--domain", "d", "tenant=acme")
    assert ended.returncode == 2
    assert "127.0.0.1:1" in ended.stderr


def test_a_command_there_is_not_is_told():
    ended = run("serv")
    assert ended.returncode == 2
    assert "serve" in ended.stderr
