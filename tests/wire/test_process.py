"""How the process starts, refuses to start, and ends."""

import json
import socket

import pytest

import h2
from messages import OK, one, remaining
from stubs import health, health_grpc, ratelimit
from tollgate import PATIENCE, SHIPPED_POLICY, eventually, run, write_policy

POLICY = """
    domain: test
    tables:
      - { name: tenant, key: [tenant], rows: { all: [{ per_day: 5 }] } }
"""


def started_lines(text):
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["fields"].get("message") == "started"]


# Starting.


def test_started_is_logged_with_the_addresses_that_are_bound(serve):
    server = serve(POLICY)
    for address in (server.grpc_address, server.http_address):
        host, port = address.rsplit(":", 1)
        assert host == "127.0.0.1"
        assert int(port) > 0
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    assert server.grpc_address != server.http_address
    assert server.log_text().count('"started"') == 1


def test_every_line_of_the_json_log_is_json_with_a_level_and_fields(serve):
    server = serve(POLICY)
    server.terminate()
    assert server.wait() == 0
    for line in server.log:
        told = json.loads(line)
        assert told["level"] in ("ERROR", "WARN", "INFO", "DEBUG", "TRACE"), line
        assert isinstance(told["fields"], dict), line


def test_the_shipped_policy_is_served(management_api):
    assert management_api.ask(one(domain="management-api", tenant="first", tenant_type="free")).overall_code == OK


def test_a_folder_serves_every_domain_in_it(serve, tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    for domain, size in (("one", 1), ("two", 2)):
        text = POLICY.replace("domain: test", f"domain: {domain}").replace("per_day: 5", f"per_day: {size}")
        write_policy(folder, text, f"{domain}.yaml")
    server = serve(folder)
    assert remaining(server.ask(one(domain="one", tenant="acme", hits=0))) == [1]
    assert remaining(server.ask(one(domain="two", tenant="acme", hits=0))) == [2]


@pytest.mark.parametrize("taken", ["--grpc", "--http"])
def test_a_port_that_is_taken_is_told_and_nothing_is_started(taken):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        flags = {"--grpc": "127.0.0.1:0", "--http": "127.0.0.1:0", taken: address}
        ended = run("serve", "--config", SHIPPED_POLICY, "--log-format", "json", *(x for pair in flags.items() for x in pair))
    assert ended.returncode > 0, "an error, and not the end of a signal"
    assert address in ended.stderr
    assert "in use" in ended.stderr.lower()
    assert started_lines(ended.stderr) == []
    assert "panicked" not in ended.stderr


def test_a_second_server_cannot_take_the_port_of_the_first(serve):
    first = serve(POLICY)
    ended = run(
        "serve", "--config", SHIPPED_POLICY, "--grpc", first.grpc_address, "--http", "127.0.0.1:0", "--log-format", "json"
    )
    assert ended.returncode > 0
    assert started_lines(ended.stderr) == []
    assert first.ask(one(tenant="acme")).overall_code == OK


# Refusing a bad policy.


def refusal_of(tmp_path, text):
    """What `serve` says of a policy that it must refuse with exit code 2."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    ended = run("serve", "--config", path, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json")
    assert ended.returncode == 2, ended
    assert started_lines(ended.stderr) == []
    assert "panicked" not in ended.stderr
    assert "bad.yaml" in ended.stderr
    return ended.stderr


def test_a_misspelled_key_is_told_with_file_line_and_cure(tmp_path):
    told = refusal_of(
        tmp_path,
        "domain: test\ntables:\n  - name: tenant\n    kye: [tenant]\n    rows: { all: [{ per_day: 5 }] }\n",
    )
    assert "bad.yaml:4" in told
    assert "kye" in told
    assert "did you mean `key`" in told


def test_a_misspelled_rate_does_not_become_a_limit_of_nothing(tmp_path):
    told = refusal_of(
        tmp_path, "domain: test\ntables:\n  - name: t\n    key: [tenant]\n    rows: { all: [{ per_minite: 5 }] }\n"
    )
    assert "bad.yaml:5" in told
    assert "did you mean `per_minute`" in told


def test_all_errors_are_told_at_once(tmp_path):
    told = refusal_of(
        tmp_path,
        """domain: test
tables:
  - name: zero
    key: [tenant]
    rows: { all: [{ per_day: 0 }] }
  - name: same
    key: [tenant]
    rows: { all: [{ per_day: 5 }] }
  - name: same
    key: [user]
    rows: { all: [{ per_day: 5 }] }
overrides:
  - { table: smae, when: { tenant: acme }, buckets: [{ per_day: 9 }] }
""",
    )
    assert "bad.yaml:5" in told, "a rate of 0"
    assert "bad.yaml:9" in told, "a name used twice"
    assert "bad.yaml:13" in told and "same" in told, "an override of no table"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "domain: [",
        "[]",
        "domain: ''\ntables: [{ name: t, key: [], rows: { all: unlimited } }]\n",
        "tables: [{ name: t, key: [], rows: { all: unlimited } }]\n",
        "domain: test\ntables: []\n",
        "\t",
        "domain: test\ndomain: test\ntables: [{ name: t, key: [], rows: { all: unlimited } }]\n",
        "\x00",
    ],
    ids=["empty", "cut", "a list", "no name", "no domain", "no tables", "a tab", "domain twice", "binary"],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path, text):
    refusal_of(tmp_path, text)


@pytest.mark.parametrize("name", [r"a \"quote\"", r"a\nline", r"a\tstop", "ü", "", r"back\\slash", "x" * 101])
def test_a_name_that_could_break_a_header_or_a_label_is_refused(tmp_path, name):
    told = refusal_of(
        tmp_path,
        f'domain: test\ntables:\n  - name: "{name}"\n    key: [tenant]\n    rows: {{ all: [{{ per_day: 5 }}] }}\n',
    )
    assert "bad.yaml:3" in told


def test_a_file_that_is_not_there_is_told(tmp_path):
    ended = run("serve", "--config", tmp_path / "none.yaml", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert ended.returncode == 2
    assert "none.yaml" in ended.stderr


# Ending.


def test_a_server_that_is_told_to_end_exits_with_0(serve):
    server = serve(POLICY)
    assert server.ask(one(tenant="acme")).overall_code == OK
    server.terminate()
    assert server.wait() == 0


def test_an_idle_server_ends_without_waiting_for_idle_connections(serve):
    server = serve(POLICY)
    with h2.Connection(server.grpc_address) as connection:
        connection.wait_for(h2.SETTINGS)
        server.terminate()
        connection.wait_for(h2.GOAWAY)
        for _ in connection.frames():
            pass  # until it closes
        assert server.wait() == 0


def half_a_call(connection):
    """Opens a call and sends the first half of its message; the server has read it on return."""
    stream = connection.new_stream()
    message = h2.grpc_message(one(tenant="acme").SerializeToString())
    connection.send(connection.call_headers(stream) + h2.frame(h2.DATA, 0, stream, message[:7]))
    connection.send(h2.frame(h2.PING, 0, 0, b"half way"))
    connection.wait_for(h2.PING, flags=h2.ACK)
    return stream, message[7:]


def test_a_call_under_way_is_answered_before_the_server_ends(serve):
    server = serve(POLICY)
    with h2.Connection(server.grpc_address) as connection:
        stream, rest = half_a_call(connection)
        server.terminate()
        connection.wait_for(h2.GOAWAY)
        assert server.alive()
        connection.send(h2.frame(h2.DATA, h2.END_STREAM, stream, rest))
        _, data = connection.answer(stream)
        assert remaining(ratelimit.RateLimitResponse.FromString(data[5:])) == [4]
    assert server.wait() == 0


def is_refused(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        pass
    return False


def test_new_connections_are_refused_while_calls_under_way_finish(serve):
    """Refused, not left waiting: Envoy then asks another replica at once."""
    server = serve(POLICY, "--drain-timeout", "60s")
    with h2.Connection(server.grpc_address) as connection:
        stream, rest = half_a_call(connection)
        server.terminate()
        connection.wait_for(h2.GOAWAY)
        assert eventually(lambda: is_refused(server.grpc_address))
        assert server.alive()
        connection.send(h2.frame(h2.DATA, h2.END_STREAM, stream, rest))
        connection.answer(stream)
    assert server.wait() == 0


def test_a_client_that_never_finishes_cannot_keep_the_server_from_ending(serve):
    server = serve(POLICY, "--drain-timeout", "1s")
    with h2.Connection(server.grpc_address) as connection:
        half_a_call(connection)
        server.terminate()
        assert server.wait() == 0


def test_an_interrupt_ends_the_server_like_a_termination(serve):
    server = serve(POLICY)
    server.interrupt()
    assert server.wait() == 0


def test_a_watch_of_health_is_told_and_does_not_keep_the_server_from_ending(serve):
    """A watch never ends by itself, so to wait for it is to wait for the whole of the drain."""
    server = serve(POLICY, "--drain-timeout", "60s")
    watch = health_grpc.HealthStub(server.channel).Watch(health.HealthCheckRequest(), timeout=3 * PATIENCE)
    assert next(watch).status == health.HealthCheckResponse.SERVING
    server.terminate()
    assert next(watch).status == health.HealthCheckResponse.NOT_SERVING
    assert server.wait() == 0
