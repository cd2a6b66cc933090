"""What the server reads from bytes that no encoder, or a newer or broken one, would send."""

import grpc
import pytest

from messages import OK, OVER_LIMIT, admitted, bytes_field, number_field, raw_entry, raw_request, remaining, varint
from tollgate import Tollgate, write_policy

POLICY = """
    domain: test
    tables:
      - name: tenant
        key: [tenant]
        rows: { all: [{ per_day: 5 }] }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Tollgate(write_policy(tmp_path_factory.mktemp("policy"), POLICY))
    yield running
    running.close()


def refusal(server, message):
    """The status code of a call that must fail, on a connection that must survive it."""
    with pytest.raises(grpc.RpcError) as refused:
        server.ask_bytes(message)
    assert refused.value.code() not in (
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,  # what a client says when the server is gone
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ), refused.value
    assert server.ask_bytes(raw_request(raw_entry("untouched", "x"))).overall_code == OK
    return refused.value.code()


def hits_wrapper(*counts):
    """The descriptor's hits_addend; sent several times over if there are several counts."""
    return b"".join(bytes_field(3, number_field(1, count)) for count in counts)


# What hits_addend is: absent, present and zero, huge.


def test_an_absent_hits_addend_charges_one(server, tenant):
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", tenant)))) == [4]


def test_an_empty_hits_addend_wrapper_is_zero_and_charges_nothing(server, tenant):
    empty_wrapper = raw_entry("tenant", tenant) + bytes_field(3, b"")
    assert remaining(server.ask_bytes(raw_request(empty_wrapper))) == [5]


def test_a_hits_addend_wrapper_that_holds_zero_charges_nothing(server, tenant):
    explicit_zero = raw_entry("tenant", tenant) + hits_wrapper(0)
    assert remaining(server.ask_bytes(raw_request(explicit_zero))) == [5]


@pytest.mark.parametrize("count", [1 << 32, 1 << 62, 1 << 63, (1 << 63) + 1, (1 << 64) - 1])
def test_a_huge_hits_addend_is_over_limit_and_takes_nothing(server, tenant, count):
    answer = server.ask_bytes(raw_request(raw_entry("tenant", tenant) + hits_wrapper(count)))
    assert answer.overall_code == OVER_LIMIT
    assert remaining(answer) == [5]


@pytest.mark.parametrize("count", [1 << 32, 1 << 63, (1 << 64) - 1])
def test_a_huge_refund_fills_the_bucket_and_no_more(server, tenant, count):
    server.ask_bytes(raw_request(raw_entry("tenant", tenant) + hits_wrapper(3)))
    refund = raw_entry("tenant", tenant) + hits_wrapper(count) + number_field(4, 1)
    assert admitted(server.ask_bytes(raw_request(refund)))
    look = server.ask_bytes(raw_request(raw_entry("tenant", tenant) + hits_wrapper(0)))
    assert remaining(look) == [5]


@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 1])
def test_a_huge_request_level_hits_addend_is_over_limit(server, tenant, count):
    answer = server.ask_bytes(raw_request(raw_entry("tenant", tenant)) + number_field(3, count))
    assert answer.overall_code == OVER_LIMIT


# What protobuf lets an encoder do.


def test_unknown_fields_of_every_wire_type_are_ignored(server, tenant):
    unknown = (
        number_field(1000, 1 << 63)
        + varint(1001 << 3 | 1)
        + b"\xff" * 8  # 64 bit
        + bytes_field(1002, b"\xff\xfe")
        + varint(1003 << 3 | 5)
        + b"\xff" * 4  # 32 bit
        + varint(1004 << 3 | 3)
        + number_field(1, 1)
        + varint(1004 << 3 | 4)  # group
        + number_field((1 << 29) - 1, 7)  # the highest number there is
    )
    entry = bytes_field(1, unknown + bytes_field(1, "tenant") + unknown + bytes_field(2, tenant) + unknown)
    message = unknown + raw_request(unknown + entry + unknown) + unknown
    assert remaining(server.ask_bytes(message)) == [4]


def test_fields_may_come_in_any_order(server, tenant):
    entry = bytes_field(1, bytes_field(2, tenant) + bytes_field(1, "tenant"))
    descriptor = number_field(4, 0) + hits_wrapper(2) + entry
    message = number_field(3, 4) + bytes_field(2, descriptor) + bytes_field(1, "test")
    assert remaining(server.ask_bytes(message)) == [3]


def test_descriptors_keep_their_order_when_other_fields_come_between(server, tenant):
    first, second = raw_entry("tenant", f"{tenant}-a"), raw_entry("tenant", f"{tenant}-b")
    message = (
        bytes_field(2, first + hits_wrapper(1))
        + number_field(3, 1)
        + bytes_field(1, "test")
        + bytes_field(2, second + hits_wrapper(3))
    )
    assert remaining(server.ask_bytes(message)) == [4, 2]


def test_of_a_repeated_scalar_the_last_counts(server, tenant):
    entry = bytes_field(
        1, bytes_field(1, "user") + bytes_field(2, "x") + bytes_field(1, "tenant") + bytes_field(2, tenant)
    )
    message = bytes_field(1, "elsewhere") + raw_request(entry) + number_field(3, 9) + number_field(3, 2)
    assert remaining(server.ask_bytes(message)) == [3]


def test_of_a_repeated_wrapper_the_last_counts(server, tenant):
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", tenant) + hits_wrapper(4, 1)))) == [4]


def test_a_repeated_submessage_is_merged_field_by_field(server, tenant):
    in_two_parts = bytes_field(2, number_field(1, 3)) + bytes_field(2, number_field(2, 4))  # 3 per day
    answer = server.ask_bytes(raw_request(raw_entry("tenant", tenant) + in_two_parts))
    assert remaining(answer) == [2]


def test_a_number_in_more_bytes_than_it_needs_is_that_number(server, tenant):
    overlong_two = b"\x82\x80\x80\x00"
    message = raw_request(raw_entry("tenant", tenant)) + varint(3 << 3) + overlong_two
    assert remaining(server.ask_bytes(message)) == [3]


def test_an_empty_value_is_a_value(server):
    without_value = bytes_field(1, bytes_field(1, "tenant"))
    before = remaining(server.ask_bytes(raw_request(raw_entry("tenant", ""))))[0]
    assert remaining(server.ask_bytes(raw_request(without_value))) == [before - 1]


def test_of_an_entry_key_that_comes_twice_the_first_counts(server, tenant):
    twice = raw_entry("tenant", tenant) + raw_entry("tenant", f"{tenant}-other")
    server.ask_bytes(raw_request(twice))
    look = raw_entry("tenant", tenant) + hits_wrapper(0)
    look_at_other = raw_entry("tenant", f"{tenant}-other") + hits_wrapper(0)
    assert remaining(server.ask_bytes(raw_request(look, look_at_other))) == [4, 5]


# What is large.


def test_a_hundred_descriptors_get_a_hundred_statuses_in_order(server, tenant):
    descriptors = [raw_entry("tenant", f"{tenant}-{i}") + hits_wrapper(i % 6) for i in range(100)]
    answer = server.ask_bytes(raw_request(*descriptors))
    assert admitted(answer)
    assert remaining(answer) == [5 - i % 6 for i in range(100)]


def test_a_value_as_long_as_envoy_lets_a_path_be_names_a_bucket_like_any_other(server, tenant):
    long = f"{tenant}-{'x' * 60_000}"
    for left in (4, 3):
        assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", long)))) == [left]
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", long + "y")))) == [4]


def test_a_long_key_and_sixty_four_entries_are_read(server, tenant):
    many = b"".join(raw_entry(f"key-{i}", "x") for i in range(62)) + raw_entry("k" * 1_000, "x")
    assert remaining(server.ask_bytes(raw_request(many + raw_entry("tenant", tenant)))) == [4]


@pytest.mark.parametrize(
    "entries",
    [raw_entry("k" * 2_000, "x"), raw_entry("tenant", "x") * 65],
    ids=["a long key", "many entries"],
)
def test_more_than_envoy_can_send_is_an_invalid_argument(server, entries):
    with pytest.raises(grpc.RpcError) as refused:
        server.ask_bytes(raw_request(entries))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("length", [0, 1, 70_000, 1_000_000])
def test_a_value_of_any_length_is_counted(server, tenant, length):
    value = tenant + "x" * length
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", value)))) == [4]
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", value)))) == [3]


def test_a_message_of_many_megabytes_is_denied(server):
    answer = server.ask_bytes(raw_request(raw_entry("tenant", "x" * 8_000_000)))
    assert (answer.overall_code, list(answer.statuses)) == (OVER_LIMIT, [])
    assert server.ask_bytes(raw_request(raw_entry("untouched", "x"))).overall_code == OK


def test_more_descriptors_than_anyone_needs_are_refused(server, tenant):
    refusal(server, raw_request(*[raw_entry("tenant", tenant)] * 10_000))


# What is broken.


@pytest.mark.parametrize("field", ["domain", "key"])
def test_a_domain_or_a_key_that_is_not_utf_8_is_refused(server, tenant, field):
    text = {"domain": b"test", "key": b"tenant"}
    text[field] += b"\xff\xfe"
    refusal(server, raw_request(raw_entry(text["key"], tenant), domain=text["domain"]))
    assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", tenant)))) == [4]


def test_values_that_are_not_utf_8_are_counted_each_by_its_own_bytes(server, tenant):
    values = [tenant.encode() + end for end in (b"\xff", b"\xfe", b"\xc3", b"\xef\xbf\xbd", b"")]
    for left in (4, 3):
        for value in values:
            assert remaining(server.ask_bytes(raw_request(raw_entry("tenant", value)))) == [left], value


def test_a_message_cut_anywhere_is_an_error_or_a_shorter_message_but_never_a_crash(server, tenant):
    whole = raw_request(raw_entry("tenant", tenant) + hits_wrapper(2)) + number_field(3, 300)
    for length in range(len(whole)):
        try:
            server.ask_bytes(whole[:length])
        except grpc.RpcError as refused:
            assert refused.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), length
    assert server.alive()


def test_a_message_cut_within_a_field_is_refused(server, tenant):
    whole = raw_request(raw_entry("tenant", tenant))
    refusal(server, whole[:-1])


@pytest.mark.parametrize(
    "broken",
    [
        b"\x0a\xff\xff\xff\xff\x0f",  # a length of 4 GiB
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length of 2^64 - 1
        b"\x0a\x04te",  # a length past the end
        b"\x18" + b"\xff" * 10 + b"\x01",  # a number of eleven bytes
        b"\x02\x00",  # field number 0
        b"\x0e",  # a wire type there is not
        b"\x0c",  # the end of a group that never began
        b"\xff" * 64,
    ],
    ids=lambda octets: octets[:12].hex(),
)
def test_bytes_that_are_no_message_are_refused(server, broken):
    refusal(server, broken)
    refusal(server, raw_request(raw_entry("tenant", "x")) + broken)


@pytest.mark.parametrize("depth", [50_000])
def test_groups_nested_without_end_do_not_crash_the_server(server, depth):
    nested = varint(1000 << 3 | 3) * depth + varint(1000 << 3 | 4) * depth
    refusal(server, raw_request(raw_entry("tenant", "x")) + nested)
