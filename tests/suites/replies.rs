//! What a client gets to read: statuses, headers, messages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use support::{
    Answer, Client, Parts, START, TestServer, call, descriptor, hits, request, server, source,
};
use tollgate::clock::Nanos;

const SECOND: i32 = 1;
const MINUTE: i32 = 2;

fn with_headers(style: &str) -> (TestServer, Client) {
    server(&format!(
        "headers: {style}\ntables: [{{ name: t, key: [k], rows: {{ all: [{{ size: 2, per_minute: 1 }}] }} }}]"
    ))
}

fn headers(answer: &Answer) -> Vec<(&str, &str)> {
    let headers = &answer.0.response_headers_to_add;
    headers.iter().map(|header| (&*header.key, &*header.value)).collect()
}

#[test]
fn statuses_follow_the_descriptors_and_name_the_tightest_bucket() {
    let (_server, mut client) = server(
        "tables:
           - { name: wide, key: [k], rows: { all: [{ per_minute: 100 }, { rate: 50, every: 5m }] } }
           - { name: tight, key: [j], rows: { all: [{ size: 20, per_second: 7 }] } }",
    );
    let answer = client.ask(request(
        "d",
        &[descriptor(&[("j", "1")]), descriptor(&[("none", "1")]), descriptor(&[("k", "1")])],
    ));
    let told: Vec<_> = answer.0.statuses.iter().map(|status| &status.current_limit).collect();
    let (first, last) = (told[0].as_ref().unwrap(), told[2].as_ref().unwrap());
    assert_eq!((&*first.name, first.requests_per_unit, first.unit), ("tight/all", 7, SECOND));
    assert_eq!(first.unit_multiplier, None);
    assert_eq!(*told[1], None);
    assert_eq!((&*last.name, last.requests_per_unit, last.unit), ("wide/all", 50, MINUTE));
    assert_eq!(last.unit_multiplier, Some(5));
    assert_eq!(answer.remaining(), [19, 0, 49]);
    let reset = answer.0.statuses[2].duration_until_reset.unwrap();
    assert_eq!((reset.seconds, reset.nanos), (6, 0));
}

/// Envoy publishes them to clients, with `enable_x_ratelimit_headers`.
#[test]
fn statuses_and_headers_say_nothing_of_rows_in_shadow() {
    let (_server, mut client) = server(
        "tables:
           - { name: trial, key: [k], shadow: true, rows: { all: [{ per_day: 1 }] } }
           - { name: paid, key: [j], rows: { all: [{ per_day: 9 }] } }",
    );
    for would_pass in [true, false] {
        let both = descriptor(&[("k", "1"), ("j", "1")]);
        let answer = client.ask(request("d", &[descriptor(&[("k", "2")]), both]));
        assert_eq!(answer.0.overall_code, 1);
        let [shadow, enforced] = &answer.0.statuses[..] else { panic!("{answer:?}") };
        assert_eq!((shadow.code, &shadow.current_limit), (1, &None), "{shadow:?}");
        assert_eq!((shadow.limit_remaining, shadow.duration_until_reset), (0, None));
        assert_eq!(enforced.current_limit.as_ref().unwrap().name, "paid/all");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("9"));
        // Envoy keeps this to itself.
        let metadata = format!("{:?}", answer.0.dynamic_metadata);
        assert_eq!(metadata.contains("trial"), !would_pass, "{metadata}");
        let mut rest = answer.0;
        rest.dynamic_metadata = None;
        assert!(!format!("{rest:?}").contains("trial"), "{rest:?}");
    }
    let only = client.ask(call(&[("k", "2")]));
    assert_eq!(headers(&only), []);
}

#[test]
fn a_week_a_month_and_a_year_have_their_units_lengths_and_buckets() {
    let (server, mut client) = server(
        "headers: ietf
tables:
  - { name: t, select: kind, key: [k], rows: {
      week: [{ per_week: 7 }], month: [{ per_month: 30 }], year: [{ per_year: 365 }] } }",
    );
    // Each gains a token a day.
    const DAY: i64 = 86_400;
    for (kind, unit, size) in [("week", 7, 7), ("month", 5, 30), ("year", 6, 365)] {
        let call = call(&[("kind", kind), ("k", "1")]);
        let answer = client.ask(call.clone());
        let status = &answer.0.statuses[0];
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.requests_per_unit, limit.unit), (size, unit), "{kind}");
        assert_eq!(limit.unit_multiplier, None, "{kind}");
        assert_eq!(status.limit_remaining, size - 1, "{kind}");
        assert_eq!(status.duration_until_reset.unwrap().seconds, DAY, "{kind}");
        let window = i64::from(size) * DAY;
        assert_eq!(headers(&answer)[0].1, format!("\"t/{kind}\";q={size};w={window}"));
        let (_, denial) = client.drain(&call, size);
        assert_eq!(denial.number("retry-after"), 86_400, "{kind}");
        let body: serde_json::Value = serde_json::from_slice(&denial.0.raw_body).unwrap();
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(&format!("the limit is {size} per {kind},")), "{message}");
        server.advance(Nanos::from_secs(86_399));
        assert!(!client.ask(call.clone()).is_ok(), "{kind}");
        server.advance(Nanos::from_secs(1));
        assert!(client.ask(call).is_ok(), "{kind}");
    }
}

/// They are told apart as they are written, in either order.
#[test]
fn a_week_is_another_bucket_than_7_days() {
    let policy = |buckets| {
        source(&format!("domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: {buckets} }} }}]"))
    };
    let parts = Parts::new(&policy("[{ per_week: 1 }]"), 100);
    assert!(parts.ask(&call(&[("k", "1")])).is_ok());
    parts.replace(&policy("[{ rate: 1, every: 7d }]"));
    assert!(parts.ask(&call(&[("k", "1")])).is_ok());
    parts.replace(&policy("[{ per_week: 1 }]"));
    assert!(!parts.ask(&call(&[("k", "1")])).is_ok());
}

#[test]
fn headers_are_those_that_the_policy_asks_for() {
    let start = START.as_unix_secs_ceil();
    let reset = (start + 60).to_string();
    let last = (start + 120).to_string();
    let epoch: [Vec<(&str, &str)>; 2] = [
        vec![
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "1"),
            ("x-ratelimit-reset", &reset),
        ],
        vec![
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", &last),
        ],
    ];
    let delta: [Vec<(&str, &str)>; 2] = [
        vec![
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "1"),
            ("x-ratelimit-reset", "60"),
        ],
        vec![
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "120"),
        ],
    ];
    let policy = ("ratelimit-policy", r#""t/all";q=2;w=120"#);
    let ietf: [Vec<(&str, &str)>; 2] = [
        vec![policy, ("ratelimit", r#""t/all";r=1;t=60"#)],
        vec![policy, ("ratelimit", r#""t/all";r=0;t=60"#)],
    ];
    let denied = [("retry-after", "60"), ("content-type", "application/json")];
    for (style, [first, rest]) in
        [("epoch", epoch), ("delta", delta), ("ietf", ietf), ("off", [vec![], vec![]])]
    {
        let (_server, mut client) = with_headers(style);
        assert_eq!(headers(&client.ask(call(&[("k", "1")]))), first, "{style}");
        assert_eq!(headers(&client.ask(call(&[("k", "1")]))), rest, "{style}");
        let denial = client.ask(call(&[("k", "1")]));
        assert_eq!(headers(&denial), [rest, denied.to_vec()].concat(), "{style}");
    }
}

/// The values of `ratelimit-policy`, `ratelimit` and `retry-after`.
fn ietf(answer: &Answer) -> [&str; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"]
        .map(|name| answer.header(name).unwrap_or_default())
}

#[test]
fn every_bucket_is_a_policy_with_a_name_and_the_tightest_is_told() {
    let (server, mut client) = server(
        "headers: ietf
tables:
  - { name: two, key: [k], rows: { all: [{ per_second: 5 }, { per_minute: 20 }] } }
  - { name: dark, key: [k], shadow: true, rows: { all: [{ per_day: 1 }] } }
  - { name: jobs, key: [k], rows: { all: [{ concurrent: 30, ttl: 1h }] } }",
    );
    let policies = r#""two/all per second";q=5;w=1, "two/all per minute";q=20;w=60, "jobs/all";q=30;qu="concurrent-requests""#;
    let mut ask = |count| client.ask(request("d", &[hits(count, &[("k", "1")])]));
    let second = |left: u32| format!(r#""two/all per second";r={left};t=1"#);
    assert_eq!(ietf(&ask(1)), [policies, &second(4), ""]);
    assert_eq!(ietf(&ask(4)), [policies, &second(0), ""]);
    assert_eq!(ietf(&ask(1)), [policies, &second(0), "1"]);
    for _ in 0..3 {
        server.advance(Nanos::from_secs(1));
        assert_eq!(ietf(&ask(5)), [policies, &second(0), ""]);
    }
    // A token a minute third, and a third of one.
    server.advance(Nanos::from_secs(1));
    assert_eq!(ietf(&ask(2)), [policies, r#""two/all per minute";r=1;t=2"#, "2"]);
}

/// draft-ietf-httpapi-ratelimit-headers-11, sections 4.1.2 and 6.
#[test]
fn no_more_than_what_remains_can_be_used_within_t_and_retry_after_is_its_end() {
    let (server, mut client) = server(
        "headers: ietf
tables:
  - { name: minute, key: [m], rows: { all: [{ per_minute: 120 }] } }
  - { name: day, key: [d], rows: { all: [{ per_day: 5 }] } }
  - { name: jobs, key: [j], rows: { all: [{ concurrent: 2, ttl: 1h }] } }",
    );
    let mut ask = |key, count| client.ask(request("d", &[hits(count, &[(key, "1")])]));
    let minute = r#""minute/all";q=120;w=60"#;
    assert_eq!(ietf(&ask("m", 120)), [minute, r#""minute/all";r=0;t=1"#, ""]);
    assert_eq!(ietf(&ask("m", 1)), [minute, r#""minute/all";r=0;t=1"#, "1"]);
    let day = r#""day/all";q=5;w=86400"#;
    assert_eq!(ietf(&ask("d", 0)), [day, r#""day/all";r=5;t=17280"#, ""]);
    assert_eq!(ietf(&ask("d", 4)), [day, r#""day/all";r=1;t=17280"#, ""]);
    server.advance(Nanos::from_secs(80));
    assert_eq!(ietf(&ask("d", 1)), [day, r#""day/all";r=0;t=17200"#, ""]);
    assert_eq!(ietf(&ask("d", 1)), [day, r#""day/all";r=0;t=17200"#, "17200"]);
    assert_eq!(ietf(&ask("d", 2)), [day, r#""day/all";r=0;t=34480"#, "34480"]);
    assert_eq!(ietf(&ask("d", 6)), [day, r#""day/all";r=0;t=17200"#, ""], "it never passes");
    let jobs = r#""jobs/all";q=2;qu="concurrent-requests""#;
    assert_eq!(ietf(&ask("j", 1)), [jobs, r#""jobs/all";r=1"#, ""]);
    assert_eq!(ietf(&ask("j", 2)), [jobs, r#""jobs/all";r=1;t=5"#, "5"]);
}

#[test]
fn policies_with_one_name_are_one_policy() {
    let (_server, mut client) = server(
        "headers: ietf
tables: [{ name: t, key: [k], rows: { all: [{ per_day: 9 }, { per_day: 8 }] } }]
overrides:
  - { table: t, when: { k: own }, buckets: [{ per_day: 100 }] }
  - { table: t, when: { k: [more, most] }, buckets: [{ per_day: 1000 }] }",
    );
    let mut policies = |descriptors: &[_]| {
        client.ask(request("d", descriptors)).header("ratelimit-policy").unwrap().to_owned()
    };
    let [own, more, most] = ["own", "more", "most"].map(|value| descriptor(&[("k", value)]));
    let row = r#""t/all per day";q=9;w=86400, "t/all per day 2";q=8;w=86400"#;
    let usual = [descriptor(&[("k", "1")]), descriptor(&[("k", "2")])];
    assert_eq!(policies(&usual), row, "two buckets of each");
    assert_eq!(
        policies(&[own, more, most]),
        r#""t/all override 1";q=100;w=86400, "t/all override 2";q=1000;w=86400"#
    );
    let sent = [support::limit(10, SECOND, None, &[("k", "1")]), usual[1].clone()];
    let limit = r#""limit override/request 10 per second";q=10;w=1"#;
    assert_eq!(policies(&sent), format!("{limit}, {row}"));
}

#[test]
fn sixteen_policies_are_told_and_that_of_the_tightest_bucket() {
    let tables = |count: u32| {
        let table = |at: u32| {
            let size = 100 - at;
            format!("\n  - {{ name: t{at}, key: [k], rows: {{ all: [{{ per_day: {size} }}] }} }}")
        };
        format!("headers: ietf\ntables:{}", (0..count).map(table).collect::<String>())
    };
    for (count, told) in [(1, 1), (16, 16), (17, 17), (30, 17)] {
        let (_server, mut client) = server(&tables(count));
        let answer = client.ask(call(&[("k", "1")]));
        let [policies, limit, _] = ietf(&answer);
        let names: Vec<_> = policies.split(", ").map(|of| of.split(';').next().unwrap()).collect();
        assert_eq!(names.len(), told, "{policies}");
        let last = format!("\"t{}/all\"", count - 1);
        assert_eq!((names[0], *names.last().unwrap()), ("\"t0/all\"", &*last));
        assert!(limit.starts_with(&format!("{last};r=")), "{limit}");
    }
}

#[test]
fn retry_after_is_rounded_up_and_never_0() {
    let (server, mut client) =
        server("tables: [{ name: t, key: [k], rows: { all: [{ per_second: 100 }] } }]");
    let (_, denial) = client.drain(&call(&[("k", "1")]), 200);
    assert_eq!(denial.number("retry-after"), 1);
    let reset = denial.0.statuses[0].duration_until_reset.unwrap();
    assert_eq!((reset.seconds, reset.nanos), (1, 0));
    server.advance(Nanos::new(9_999_999));
    assert_eq!(client.ask(call(&[("k", "1")])).number("retry-after"), 1);
}

/// Envoy's own header has the seconds of the status, without the fraction.
#[test]
fn the_reset_of_a_status_is_rounded_up_and_0_only_if_the_bucket_is_full() {
    let policy = "headers: delta
tables: [{ name: t, key: [k], rows: { all: [{ size: 20, per_second: 10 }] } }]";
    let (server, mut client) = server(policy);
    // Hits, and tenths of a second until the bucket is full.
    for (spent, tenths) in [(0, 0), (1, 1), (8, 9), (1, 10), (1, 11), (8, 19), (1, 20)] {
        let answer = client.ask(request("d", &[hits(spent, &[("k", "1")])]));
        let status = &answer.0.statuses[0];
        assert_eq!(status.limit_remaining, 20 - tenths, "{tenths}");
        let reset = status.duration_until_reset.unwrap();
        let seconds = u64::from(tenths).div_ceil(10);
        assert_eq!((reset.seconds, reset.nanos), (seconds.try_into().unwrap(), 0), "{tenths}");
        assert_eq!(answer.number("x-ratelimit-reset"), seconds, "{tenths}");
    }
    server.advance(Nanos::new(1_999_999_999));
    let reset = |client: &mut Client| {
        let answer = client.ask(request("d", &[hits(0, &[("k", "1")])]));
        answer.0.statuses[0].duration_until_reset.unwrap()
    };
    assert_eq!(reset(&mut client).seconds, 1, "a nanosecond before it is full");
    server.advance(Nanos::new(1));
    assert_eq!((reset(&mut client).seconds, reset(&mut client).nanos), (0, 0));
}

#[test]
fn a_message_is_filled_in_and_escaped() {
    let (_server, mut client) = server(
        r#"tables:
           - name: t
             key: [k]
             rows: { all: [{ per_minute: 1 }] }
             message: "\"{limit}\" {bucket}\n{table}\\{row} {retry_after}"
           - { name: u, key: [u], rows: { all: [{ per_minute: 1 }] } }"#,
    );
    let (_, denial) = client.drain(&call(&[("k", "1")]), 2);
    let body: serde_json::Value = serde_json::from_str(denial.body()).unwrap();
    assert_eq!(body["message"], "\"1\" 1 per minute\nt\\all 60");
    assert_eq!((&body["statusCode"], &body["error"]), (&429.into(), &"Too Many Requests".into()));
    let (_, denial) = client.drain(&call(&[("u", "1")]), 2);
    let body: serde_json::Value = serde_json::from_str(denial.body()).unwrap();
    assert_eq!(
        body["message"],
        "Too many requests: the limit is 1 per minute, please retry after 60 s"
    );
}

#[test]
fn what_a_client_sends_comes_back_nowhere() {
    let (server, mut client) = server(
        "tables: [{ name: t, select: kind, key: [k], rows: { default: [{ per_minute: 1 }] } }]",
    );
    let hostile = "evil\r\nset-cookie: x=1\u{1b}[31m\"}";
    let entries = [("k", hostile), ("kind", hostile), (hostile, hostile)];
    let (_, denial) = client.drain(&call(&entries), 2);
    let told = format!("{:?}{}", denial.0, server.parts.telemetry.encode().unwrap());
    assert!(!told.contains("evil"), "{told}");
    client.ask(request(hostile, &[descriptor(&entries)]));
    assert!(!server.parts.telemetry.encode().unwrap().contains("evil"));
}

#[test]
fn some_decisions_are_timed() {
    let (server, mut client) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    let timed = || {
        let metrics = server.parts.telemetry.encode().unwrap();
        let name = "tollgate_decision_duration_seconds_count ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name));
        count.unwrap().parse::<u32>().unwrap()
    };
    for _ in 0..64 {
        client.ask(call(&[("k", "1")]));
        server.advance(Nanos::new(1_000));
    }
    assert_eq!(timed(), 1);
}

#[test]
fn a_policy_writes_the_body_of_its_denials() {
    let body = |written: &str| {
        let (_server, mut client) = server(&format!(
            "denial_body: {written}
tables: [{{ name: t, key: [k], message: 'no \"more\" than {{limit}}', rows: {{ all: [{{ per_minute: 1 }}] }} }}]"
        ));
        client.ask(call(&[("k", "1")]));
        let denied = client.ask(call(&[("k", "1")]));
        let content_type = headers(&denied).into_iter().find(|(name, _)| *name == "content-type");
        (content_type.unwrap().1.to_owned(), String::from_utf8(denied.0.raw_body.clone()).unwrap())
    };
    assert_eq!(
        body(
            "{ content_type: application/problem+json, json: { detail: '{message}', of: ['{table}/{row}', 429, ~] } }"
        ),
        (
            "application/problem+json".to_owned(),
            r#"{"detail":"no \"more\" than 1","of":["t/all",429,null]}"#.to_owned()
        )
    );
    assert_eq!(
        body("{ text: '{message}: {bucket}, wait {retry_after} s' }"),
        (
            "text/plain; charset=utf-8".to_owned(),
            "no \"more\" than 1: 1 per minute, wait 60 s".to_owned()
        )
    );
}

/// Waiting helps nobody whose call has more hits than the bucket ever has.
#[test]
fn more_than_a_bucket_can_hold_is_denied_without_a_time_to_retry_after() {
    let (_server, mut client) = server(
        "tables:
           - { name: rate, key: [k], rows: { all: [{ per_minute: 10 }] } }
           - { name: slots, key: [s], rows: { all: [{ concurrent: 2, ttl: 10s }] } }
           - { name: own, key: [o], rows: { all: [{ per_minute: 10 }] }, message: \"wait {retry_after} s\" }
           - { name: words, key: [w], rows: { all: [{ per_minute: 10 }] }, message: \"at most {limit}\" }",
    );
    let mut asked = |key, hits| client.ask(request("d", &[support::hits(hits, &[(key, "1")])]));
    let cases = [
        ("k", "Too many requests: the limit is 10 per minute, and this request alone exceeds it"),
        ("s", "Too many requests: the limit is 2 concurrent, and this request alone exceeds it"),
        ("o", "Too many requests: the limit is 10 per minute, and this request alone exceeds it"),
        ("w", "at most 10"),
    ];
    for (key, expected) in cases {
        for hits in [11, u64::MAX] {
            let answer = asked(key, hits);
            assert!(!answer.is_ok(), "{key} {hits}");
            assert!(answer.header("retry-after").is_none(), "{key}");
            let body: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
            assert_eq!(body["message"], expected, "{hits}");
        }
    }
    // What is not there now may be there later.
    assert!(asked("o", 10).is_ok());
    assert_eq!(asked("o", 10).number("retry-after"), 60);
}
