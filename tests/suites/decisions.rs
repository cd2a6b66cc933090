//! What a decision charges and denies, asked over real gRPC with a clock that the test moves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use support::{Client, call, descriptor, give_back, hits, limit, request, server};
use tollgate::clock::Nanos;
use tonic::Code;

const TEN_A_DAY: &str = "tables: [{ name: t, key: [k], rows: { all: [{ per_day: 10 }] } }]";
const SECOND: i32 = 1;
const MINUTE: i32 = 2;
const YEAR: i32 = 6;

#[test]
fn a_request_is_charged_everywhere_or_nowhere_over_all_descriptors() {
    let (_server, mut client) = server(
        "tables:
           - { name: a, key: [a], rows: { all: [{ per_day: 3 }] } }
           - { name: b, key: [b], rows: { all: [{ per_day: 1 }] } }",
    );
    let both = request("d", &[descriptor(&[("a", "1")]), descriptor(&[("b", "1")])]);
    let first = client.ask(both.clone());
    assert_eq!((first.is_ok(), first.remaining()), (true, vec![2, 0]));
    for _ in 0..5 {
        let denial = client.ask(both.clone());
        let codes: Vec<_> = denial.0.statuses.iter().map(|status| status.code).collect();
        assert_eq!((denial.is_ok(), codes, denial.remaining()), (false, vec![1, 2], vec![2, 0]));
        assert_eq!(denial.denied_by(), ("b", "all", "1 per day"));
    }
    assert_eq!(client.drain(&call(&[("a", "1")]), 5).0, 2);
}

#[test]
fn a_bucket_reached_twice_is_charged_once_by_the_largest_hits() {
    let (_server, mut client) = server(TEN_A_DAY);
    let descriptors = [hits(2, &[("k", "1")]), hits(3, &[("k", "1")]), hits(0, &[("k", "1")])];
    assert_eq!(client.ask(request("d", &descriptors)).remaining(), [7, 7, 7]);
}

#[test]
fn a_descriptors_own_hits_go_before_the_requests() {
    let (_server, mut client) = server(TEN_A_DAY);
    let ask = |client: &mut Client, own: Option<u64>, of_request: u32| {
        let mut asked = descriptor(&[("k", "1")]);
        asked.hits_addend = own;
        let mut message = request("d", &[asked]);
        message.hits_addend = of_request;
        client.ask(message).remaining()[0]
    };
    assert_eq!(ask(&mut client, None, 0), 9);
    assert_eq!(ask(&mut client, None, 2), 7);
    assert_eq!(ask(&mut client, Some(3), 2), 4);
    assert_eq!(ask(&mut client, Some(0), 2), 4);
}

#[test]
fn a_look_at_an_empty_bucket_is_over_limit_and_charges_nothing() {
    let (server, mut client) =
        server("tables: [{ name: t, key: [k], rows: { all: [{ per_hour: 2 }] } }]");
    assert!(client.ask(request("d", &[hits(2, &[("k", "1")])])).is_ok());
    for _ in 0..3 {
        assert!(!client.ask(request("d", &[hits(0, &[("k", "1")])])).is_ok());
    }
    server.advance(Nanos::from_secs(1800));
    assert!(client.ask(request("d", &[hits(0, &[("k", "1")])])).is_ok());
    assert!(client.ask(call(&[("k", "1")])).is_ok());
}

#[test]
fn more_hits_than_a_bucket_holds_are_over_limit_and_charge_nothing() {
    let (_server, mut client) = server(TEN_A_DAY);
    // 1,067,521 x a fifth of a day wraps around 2^64 ns; governor alone would admit its like.
    for count in [11, 533_761, 1_067_521, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let answer = client.ask(request("d", &[hits(count, &[("k", "1")])]));
        assert_eq!((answer.is_ok(), answer.remaining()), (false, vec![10]), "{count}");
        assert_eq!(answer.header("retry-after"), None, "{count}");
    }
    assert!(client.ask(request("d", &[hits(10, &[("k", "1")])])).is_ok());
}

#[test]
fn hits_given_back_fill_up_to_full_and_never_deny() {
    let (_server, mut client) = server(TEN_A_DAY);
    assert!(client.ask(request("d", &[hits(6, &[("k", "1")])])).is_ok());
    assert_eq!(client.ask(request("d", &[give_back(2, &[("k", "1")])])).remaining(), [6]);
    for count in [100, u64::MAX] {
        let answer = client.ask(request("d", &[give_back(count, &[("k", "1")])]));
        assert_eq!((answer.is_ok(), answer.remaining()), (true, vec![10]));
    }
    assert_eq!(client.drain(&call(&[("k", "1")]), 20).0, 10);
}

#[test]
fn an_idle_bucket_admits_its_size_and_not_twice_that() {
    let (server, mut client) =
        server("tables: [{ name: t, key: [k], rows: { all: [{ per_second: 10 }] } }]");
    assert_eq!(client.drain(&call(&[("k", "1")]), 30).0, 10);
    server.advance(Nanos::from_secs(86_400));
    assert_eq!(client.drain(&call(&[("k", "1")]), 30).0, 10);
    server.advance(Nanos::new(99_999_999));
    assert_eq!(client.drain(&call(&[("k", "1")]), 30).0, 0);
    server.advance(Nanos::new(1));
    assert_eq!(client.drain(&call(&[("k", "1")]), 30).0, 1);
}

#[test]
fn a_brought_limit_replaces_the_token_buckets_and_no_others() {
    let (_server, mut client) = server(
        "tables:
           - { name: t, key: [k], rows: { all: [{ per_day: 1 }, { per_minute: 1 }] } }
           - { name: j, key: [k], rows: { all: [{ concurrent: 4, ttl: 1h }] } }",
    );
    let asked = request("d", &[limit(3, MINUTE, Some(2), &[("k", "1")])]);
    let first = client.ask(asked.clone());
    let told = first.0.statuses[0].current_limit.as_ref().unwrap();
    assert_eq!((&*told.name, told.requests_per_unit), ("limit override/request", 3));
    assert_eq!((told.unit, told.unit_multiplier), (MINUTE, Some(2)));
    let (admitted, denial) = client.drain(&asked, 10);
    assert_eq!((admitted, denial.denied_by().0), (2, "limit override"));
    assert_eq!(denial.number("retry-after"), 40);
    assert!(client.ask(call(&[("k", "1")])).is_ok(), "the policy's own bucket was not touched");
    let larger = request("d", &[limit(100, MINUTE, None, &[("k", "1")])]);
    assert_eq!(client.ask(larger).denied_by().0, "j", "slots are not the limit's to replace");
}

#[test]
fn a_brought_limit_that_replaces_nothing_counts_by_the_whole_descriptor() {
    let (_server, mut client) = server(TEN_A_DAY);
    let asked = |value: &str| request("d", &[limit(2, SECOND, None, &[("other", value)])]);
    assert_eq!(client.drain(&asked("1"), 10).0, 2);
    assert_eq!(client.drain(&asked("2"), 10).0, 2);
}

#[test]
fn a_brought_limit_of_no_unit_is_an_invalid_argument() {
    let (_server, mut client) = server(TEN_A_DAY);
    let wrong = [(1, 0, None), (1, 8, None), (1, -1, None), (0, 0, None), (0, 8, Some(1))];
    for (requests, unit, multiplier) in wrong {
        let asked = limit(requests, unit, multiplier, &[("k", "1")]);
        let error = client.try_ask(request("d", &[asked])).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{requests} {unit} {multiplier:?}");
        assert!(error.message().starts_with("descriptor 0: limit: "), "{}", error.message());
    }
    assert!(client.ask(call(&[("k", "1")])).is_ok(), "the server lives on");
}

#[test]
fn a_brought_limit_that_cannot_be_kept_is_kept_as_fast_or_as_slowly_as_can_be() {
    let (server, mut client) = server(TEN_A_DAY);
    let mut caller = 0;
    let mut told = |requests, unit, multiplier, spent| {
        caller += 1;
        let mut asked = limit(requests, unit, multiplier, &[("k", &caller.to_string())]);
        asked.hits_addend = Some(spent);
        let answer = client.ask(request("d", &[asked]));
        assert!(answer.is_ok(), "{requests} {unit} {multiplier:?}");
        let status = &answer.0.statuses[0];
        let told = status.current_limit.as_ref().unwrap();
        assert_eq!(told.name, "limit override/request");
        let reset = status.duration_until_reset.unwrap();
        (told.requests_per_unit, told.unit, told.unit_multiplier, reset.seconds, reset.nanos)
    };
    // A million tokens take a second, however many more a second were asked for.
    assert_eq!(told(u32::MAX, SECOND, None, 1_000_000), (1_000_000, SECOND, None, 1, 0));
    assert_eq!(told(1_000_001, SECOND, None, 1_000_001), (1_000_000, SECOND, None, 2, 0));
    assert_eq!(told(u32::MAX, MINUTE, None, 1), (60_000_000, MINUTE, None, 1, 0));
    let years = 146 * 365 * 86_400;
    assert_eq!(told(1, YEAR, Some(u32::MAX), 1), (1, YEAR, Some(146), years, 0));
    assert_eq!(told(2, YEAR, Some(1000), 2), (2, YEAR, Some(146), years, 0));
    // No units are one.
    assert_eq!(told(60, MINUTE, Some(0), 1), (60, MINUTE, None, 1, 0));
    let slow = request("d", &[limit(1, YEAR, Some(u32::MAX), &[("k", "4")])]);
    assert!(!client.ask(slow.clone()).is_ok());
    server.advance(Nanos::from_secs(100 * 365 * 86_400));
    assert!(!client.ask(slow).is_ok());
}

#[test]
fn what_is_no_question_is_an_invalid_argument() {
    let (_server, mut client) = server(TEN_A_DAY);
    let told = |client: &mut Client, message| {
        let error = client.try_ask(message).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        error.message().to_owned()
    };
    let one = descriptor(&[("k", "1")]);
    assert_eq!(
        told(&mut client, request("", std::slice::from_ref(&one))),
        "rate limit domain must not be empty"
    );
    assert_eq!(
        told(&mut client, request("d", &[])),
        "rate limit descriptor list must not be empty"
    );
    assert_eq!(
        told(&mut client, request("d", &[one.clone(), descriptor(&[])])),
        "descriptor 1: entries must not be empty"
    );
    assert_eq!(
        told(&mut client, call(&[("k", "1"), ("", "x")])),
        "descriptor 0, entry 1: key must not be empty"
    );
    let many = vec![one; 257];
    assert!(told(&mut client, request("d", &many)).contains("at most 256"));
}

#[test]
fn an_unknown_domain_and_an_unmatched_descriptor_pass_and_are_counted() {
    let (server, mut client) = server(TEN_A_DAY);
    let one = descriptor(&[("k", "1")]);
    let answer = client.ask(request("nobody's", &[one.clone(), one]));
    assert_eq!((answer.is_ok(), answer.0.statuses.len()), (true, 2));
    assert!(answer.0.response_headers_to_add.is_empty());
    assert!(client.ask(call(&[("another", "1")])).is_ok());
    let metrics = server.parts.telemetry.encode().unwrap();
    assert!(metrics.contains("tollgate_unknown_domain_requests_total 1\n"), "{metrics}");
    assert!(metrics.contains("tollgate_requests_total{domain=\"d\",code=\"unmatched\"} 1\n"));
    assert!(!metrics.contains("nobody"));
}

#[test]
fn a_brought_limit_replaces_only_what_its_own_descriptor_met() {
    let (_server, mut client) = server(
        "tables:
           - { name: a, key: [a], rows: { all: [{ per_day: 2 }] } }
           - { name: b, key: [b], rows: { all: [{ per_day: 2 }] } }",
    );
    let both = request("d", &[descriptor(&[("a", "1")]), limit(9, MINUTE, None, &[("b", "1")])]);
    let answer = client.ask(both.clone());
    assert_eq!(answer.remaining(), [1, 8]);
    assert_eq!(client.drain(&both, 9).0, 1);
    assert_eq!(client.drain(&call(&[("b", "1")]), 9).0, 2);
}

#[test]
fn brought_limits_of_one_period_are_one_bucket_and_of_another_are_another() {
    let (_server, mut client) = server(TEN_A_DAY);
    let asked = |requests, unit| request("d", &[limit(requests, unit, None, &[("k", "1")])]);
    assert_eq!(client.drain(&asked(2, MINUTE), 9).0, 2);
    assert_eq!(client.drain(&asked(3, MINUTE), 9).0, 1);
    assert_eq!(client.drain(&asked(3, YEAR), 9).0, 3);
}

#[test]
fn a_brought_limit_leaves_shadow_rows_alone_and_holds_where_the_policy_has_none() {
    let (_server, mut client) = server(
        "tables:
           - { name: watched, key: [k], shadow: true, rows: { all: [{ per_day: 1 }] } }
           - { name: free, key: [k], rows: { all: unlimited } }",
    );
    let asked = request("d", &[limit(2, MINUTE, None, &[("k", "1")])]);
    let (admitted, denial) = client.drain(&asked, 9);
    assert_eq!((admitted, denial.denied_by().0), (2, "limit override"));
    assert!(client.ask(call(&[("k", "1")])).is_ok(), "shadow denies nobody");
}

#[test]
fn many_descriptors_are_decided_as_exactly_as_a_few() {
    let (_server, mut client) = server(
        "tables:
           - { name: a, key: [a], rows: { all: [{ per_day: 5 }, { per_hour: 4 }] } }
           - { name: b, key: [b], rows: { all: [{ per_day: 200 }] } }",
    );
    let descriptors: Vec<_> =
        (0..200).map(|at| descriptor(&[("a", &*(at % 100).to_string()), ("b", "same")])).collect();
    let all = request("d", &descriptors);
    let answer = client.ask(all.clone());
    assert_eq!(answer.remaining(), vec![3; 200], "each bucket once, however often it is met");
    assert_eq!(client.drain(&all, 9).0, 3);
    assert_eq!(client.ask(call(&[("b", "same")])).remaining(), [195]);
}

/// The picture in docs/policy.md.
#[test]
fn a_caller_that_takes_all_it_can_gets_twice_the_number_in_the_first_period_and_the_number_in_each_after()
 {
    for (bucket, at_once) in [("{ per_minute: 60 }", 60), ("{ per_minute: 60, size: 10 }", 10)] {
        let (server, mut client) =
            server(&format!("tables: [{{ name: t, key: [k], rows: {{ all: [{bucket}] }} }}]"));
        let asked = call(&[("k", "1")]);
        let mut admitted = client.drain(&asked, at_once).0;
        assert_eq!(admitted, at_once, "{bucket}");
        for minute in 1..=3 {
            for _ in 0..60 {
                server.advance(Nanos::from_secs(1));
                admitted += client.drain(&asked, 1).0;
            }
            assert_eq!(admitted, at_once + 60 * minute, "{bucket}");
        }
        // Idle until it is full, it begins anew.
        server.advance(Nanos::from_secs(60));
        assert_eq!(client.drain(&asked, at_once).0, at_once, "{bucket}");
    }
}
