"""gRPC around the one call: what Envoy sends with it, deadlines, methods, health and reflection."""

import grpc
import pytest
from google.protobuf import descriptor_pb2

import h2
from messages import OK, one, remaining
from stubs import (
    health,
    health_grpc,
    ratelimit,
    ratelimit_grpc,
    reflection_v1,
    reflection_v1_grpc,
    reflection_v1alpha,
    reflection_v1alpha_grpc,
)
from tollgate import SHIPPED_POLICY

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


def call_by_hand(server, message, extra=()):
    """One call over a connection of its own: (headers and trailers, flag and message of the answer)."""
    with h2.Connection(server.grpc_address) as connection:
        stream = connection.new_stream()
        connection.send(
            connection.call_headers(stream, extra)
            + h2.frame(h2.DATA, h2.END_STREAM, stream, h2.grpc_message(message.SerializeToString()))
        )
        return connection.answer(stream)


def asked(tenant):
    return one(domain="management-api", tenant=tenant, tenant_type="free")


# The call as Envoy makes it.


def test_a_call_with_envoys_headers_is_answered(management_api, tenant):
    _, data = call_by_hand(management_api, asked(tenant), [("grpc-timeout", "250m")])
    answer = ratelimit.RateLimitResponse.FromString(data[5:])
    assert (answer.overall_code, remaining(answer)) == (OK, [9])


@pytest.mark.parametrize("timeout", ["20m", "1S", "99999999H", "5000000u", "99999999n"])
def test_a_grpc_timeout_of_any_unit_is_understood(management_api, tenant, timeout):
    headers, data = call_by_hand(management_api, asked(tenant), [("grpc-timeout", timeout)])
    assert data, headers


@pytest.mark.parametrize("timeout", ["", "m", "20", "-1S", "999999999S", "20 m", "20x"])
def test_a_grpc_timeout_that_is_none_does_no_harm(management_api, tenant, timeout):
    call_by_hand(management_api, asked(tenant), [("grpc-timeout", timeout)])
    assert management_api.ask(asked(tenant)).overall_code == OK


# What callers call the server: the name of a cluster of Istio or Envoy Gateway, a path, and what nobody should send.
AUTHORITIES = [
    "outbound|8081||tollgate.default.svc",
    "a/b/c",
    "%2Frun%2Ftollgate%2Fgrpc.sock",
    "user@tollgate:99999",
    "two words",
    "caf\u00e9",
]


def is_answered(address, tenant, authority=None):
    """Whether the rate limit and health, which different parts of the server answer, are there under that name."""
    options = [] if authority is None else [("grpc.default_authority", authority)]
    with grpc.insecure_channel(address, options=options) as channel:
        answer = ratelimit_grpc.RateLimitServiceStub(channel).ShouldRateLimit(asked(tenant), timeout=30)
        told = health_grpc.HealthStub(channel).Check(health.HealthCheckRequest(), timeout=30)
    return answer.overall_code == OK and told.status == health.HealthCheckResponse.SERVING


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_a_call_is_answered_whatever_the_server_is_called(management_api, tenant, authority):
    assert is_answered(management_api.grpc_address, tenant, authority)


@pytest.mark.parametrize("authority", [None, *AUTHORITIES])
def test_the_same_holds_over_a_unix_domain_socket(serve, tmp_path, tenant, authority):
    server = serve(SHIPPED_POLICY, grpc_at=f"unix:{tmp_path}/grpc.sock")
    assert is_answered(server.grpc_address, tenant, authority)


# A literal without Huffman's code, which would be no shorter: `:status` of HPACK's static table, and three digits.
STATUSES = {405: b"\x08\x03405", 415: b"\x08\x03415"}

JOB = {"tenant_type": "enterprise_production", "endpoint_group": "create_import_users_job"}


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [(method, "application/grpc", 405) for method in ["GET", "HEAD", "PUT", "OPTIONS"]]
    + [("POST", kind, 415) for kind in [None, "text/plain", "application/x-www-form-urlencoded", "application/json"]],
)
@pytest.mark.parametrize("path", [f"/{SERVICE}/ShouldRateLimit", "/grpc.health.v1.Health/Check"])
def test_what_a_page_in_a_browser_can_send_is_no_call(management_api, tenant, path, method, kind, status):
    question = one(domain="management-api", tenant=tenant, **JOB)
    message = h2.frame(h2.DATA, h2.END_STREAM, 1, h2.grpc_message(question.SerializeToString()))
    for _ in range(3):
        with h2.Connection(management_api.grpc_address) as connection:
            stream = connection.new_stream()
            connection.send(connection.call_headers(stream, path=path, method=method, kind=kind) + message)
            headers = connection.wait_for(h2.HEADERS, stream)
            assert STATUSES[status] in headers
    # Both slots are free.
    assert [management_api.ask(question).overall_code for _ in range(2)] == [OK, OK]


@pytest.mark.parametrize("kind", ["application/grpc+proto", "application/grpc;charset=utf-8"])
def test_a_call_may_say_what_it_is_more_closely(management_api, tenant, kind):
    with h2.Connection(management_api.grpc_address) as connection:
        stream = connection.new_stream()
        message = h2.grpc_message(asked(tenant).SerializeToString())
        frames = connection.call_headers(stream, kind=kind) + h2.frame(h2.DATA, h2.END_STREAM, stream, message)
        connection.send(frames)
        _, data = connection.answer(stream)
    assert ratelimit.RateLimitResponse.FromString(data[5:]).overall_code == OK


def test_an_answer_is_never_compressed(management_api, tenant):
    accepted = [("grpc-accept-encoding", "gzip,deflate,zstd,identity")]
    headers, data = call_by_hand(management_api, asked(tenant), accepted)
    assert data[0] == 0, "the flag before the message says that it is compressed"
    assert b"gzip" not in headers
    assert b"zstd" not in headers


def test_a_compressed_question_is_answered_or_refused_but_breaks_nothing(management_api, tenant):
    with grpc.insecure_channel(management_api.grpc_address) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ShouldRateLimit",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ratelimit.RateLimitResponse.FromString,
        )
        try:
            call(asked(tenant), timeout=30, compression=grpc.Compression.Gzip)
        except grpc.RpcError as refused:
            assert refused.code() == grpc.StatusCode.UNIMPLEMENTED, refused
    assert management_api.ask(asked(tenant)).overall_code == OK


def test_a_thousand_calls_may_be_under_way_on_one_connection(management_api):
    with h2.Connection(management_api.grpc_address) as connection:
        streams = [connection.new_stream() for _ in range(1024)]
        for stream in streams:
            connection.send(connection.call_headers(stream))
        message = h2.grpc_message(asked("one-of-a-thousand").SerializeToString())
        connection.send(h2.frame(h2.DATA, h2.END_STREAM, streams[-1], message))
        _, data = connection.answer(streams[-1])
        assert data, "1024 open calls are what Envoy may have on one connection"


def test_calls_over_many_connections_share_their_buckets(management_api, tenant):
    left = []
    for _ in range(4):
        _, data = call_by_hand(
            management_api, one(domain="management-api", tenant=tenant, endpoint_group="rotate_signing_keys")
        )
        left += remaining(ratelimit.RateLimitResponse.FromString(data[5:]))
    assert left == [4, 3, 2, 1]


# What is no such call.


def test_an_unknown_method_is_unimplemented(management_api, tenant):
    with pytest.raises(grpc.RpcError) as refused:
        management_api.ask_bytes(asked(tenant).SerializeToString(), method="NoSuchMethod")
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "path", ["/no.such.Service/Method", "/", "/envoy.service.ratelimit.v3.RateLimitService/", "/a/b/c"]
)
def test_an_unknown_service_is_unimplemented(management_api, path):
    call = management_api.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", timeout=30)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


# Health.


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_serving(management_api, service):
    answer = health_grpc.HealthStub(management_api.channel).Check(
        health.HealthCheckRequest(service=service), timeout=30
    )
    assert answer.status == health.HealthCheckResponse.SERVING


def test_the_health_of_an_unknown_service_is_not_found(management_api):
    with pytest.raises(grpc.RpcError) as refused:
        health_grpc.HealthStub(management_api.channel).Check(health.HealthCheckRequest(service="nobody"), timeout=30)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_can_be_watched(management_api):
    watch = health_grpc.HealthStub(management_api.channel).Watch(health.HealthCheckRequest(service=SERVICE), timeout=30)
    assert next(watch).status == health.HealthCheckResponse.SERVING
    watch.cancel()


# Reflection, in the two versions that clients ask for.

REFLECTION = pytest.mark.parametrize(
    ("messages", "stubs"),
    [(reflection_v1, reflection_v1_grpc), (reflection_v1alpha, reflection_v1alpha_grpc)],
    ids=["v1", "v1alpha"],
)


def reflect(server, messages, stubs, **question):
    call = stubs.ServerReflectionStub(server.channel).ServerReflectionInfo(
        iter([messages.ServerReflectionRequest(**question)]), timeout=30
    )
    return next(iter(call))


@REFLECTION
def test_reflection_lists_every_service(management_api, messages, stubs):
    answer = reflect(management_api, messages, stubs, list_services="*")
    names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert any(name.startswith("grpc.reflection.") for name in names)


@REFLECTION
def test_reflection_describes_the_service_as_envoy_knows_it(management_api, messages, stubs):
    answer = reflect(management_api, messages, stubs, file_containing_symbol=SERVICE)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(content)
        for content in answer.file_descriptor_response.file_descriptor_proto
    ]
    file = next(file for file in files if file.package == "envoy.service.ratelimit.v3")
    told = {message.name: {field.name: field.number for field in message.field} for message in file.message_type}
    assert told["RateLimitRequest"] == {"domain": 1, "descriptors": 2, "hits_addend": 3}
    assert told["RateLimitResponse"] == {
        "overall_code": 1,
        "statuses": 2,
        "response_headers_to_add": 3,
        "request_headers_to_add": 4,
        "raw_body": 5,
        "dynamic_metadata": 6,
        "quota": 7,
    }


@REFLECTION
def test_reflection_of_an_unknown_symbol_is_an_error(management_api, messages, stubs):
    try:
        answer = reflect(management_api, messages, stubs, file_containing_symbol="no.such.Symbol")
    except grpc.RpcError as refused:
        assert refused.code() == grpc.StatusCode.NOT_FOUND
    else:
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_every_message_and_number_of_ours_is_the_servers_too(management_api):
    """The wire contract as a whole: our own files against what the server says of its own."""
    from stubs import descriptor as own_descriptor

    def shape(message):
        """Field names, numbers, types and labels, and those of nested messages and enums."""
        fields = {(field.name, field.number, field.type, field.label) for field in message.field}
        nested = {inner.name: shape(inner) for inner in message.nested_type}
        enums = {enum.name: {(value.name, value.number) for value in enum.value} for enum in message.enum_type}
        return fields, nested, enums

    def file_of(symbol):
        answer = reflect(management_api, reflection_v1, reflection_v1_grpc, file_containing_symbol=symbol)
        package = symbol.rsplit(".", 1)[0]
        for content in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            if file.package == package:
                return file
        raise AssertionError(f"no file of package {package}")

    for module, symbols in (
        (ratelimit, ("RateLimitRequest", "RateLimitResponse")),
        (own_descriptor, ("RateLimitDescriptor",)),
    ):
        ours = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(ours)
        theirs = file_of(f"{ours.package}.{symbols[0]}")
        for name in symbols:
            our_shape = shape(next(message for message in ours.message_type if message.name == name))
            their_shape = shape(next(message for message in theirs.message_type if message.name == name))
            assert our_shape == their_shape, name
