//! What is listed of buckets near their limit or over it, and by which words.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use support::{Parts, START, hits, request, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::observe::bucket_label::BucketLabel;
use tollgate::observe::recent_buckets::{BucketSnapshot, NOTE_INTERVAL};
use tollgate::text::MAX_CHARS;

/// Twenty a day, by address too, and that in shadow.
const POLICY: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ per_day: 20 }] } }
  - { name: a, key: [remote_address], rows: { all: [{ per_day: 20 }] }, shadow: true }
";

/// How long the bucket takes to gain one.
const ONE: Nanos = Nanos::from_secs(86_400 / 20);

fn parts() -> Parts {
    Parts::new(&source(POLICY), 100_000)
}

fn ask(parts: &Parts, count: u64, entries: &[(&str, &str)]) {
    parts.ask(&request("d", &[hits(count, entries)]));
}

fn told(parts: &Parts) -> Vec<String> {
    parts.service.recent_buckets().iter().map(tell).collect()
}

fn tell(seen: &BucketSnapshot) -> String {
    let BucketLabel { domain, table, row, is_truncated, is_shadow, .. } = &*seen.label;
    let key = seen.label.key_text();
    let key: Vec<_> = key.iter().map(|[name, value]| format!("{name}={value}")).collect();
    let shadow = if *is_shadow { " shadow" } else { "" };
    let key_is_truncated = if *is_truncated { " cut" } else { "" };
    let (key, left, word) = (key.join(" "), seen.outcome.remaining, seen.standing().word());
    format!("{domain} {table}/{row} {key}{key_is_truncated}: {left} {word}{shadow}")
}

#[test]
fn a_bucket_is_listed_once_less_than_a_tenth_is_left() {
    let parts = parts();
    ask(&parts, 18, &[("k", "one")]);
    assert_eq!(told(&parts), [""; 0], "a tenth is left");
    ask(&parts, 1, &[("k", "one")]);
    assert_eq!(told(&parts), ["d t/all k=one: 1 near"]);
}

#[test]
fn a_bucket_that_denies_is_listed_and_so_is_one_in_shadow() {
    let parts = parts();
    ask(&parts, 20, &[("k", "one"), ("remote_address", "2001:db8::1")]);
    let both = ["d a/all remote_address=2001:db8::/64: 0 over shadow", "d t/all k=one: 0 over"];
    let mut told_of = told(&parts);
    told_of.sort();
    assert_eq!(told_of, both);
    ask(&parts, 21, &[("k", "two")]);
    assert_eq!(told(&parts).len(), 3, "more than it holds is denied, too");
}

#[test]
fn a_bucket_that_was_just_noted_is_left_alone_and_later_it_is_noted_again() {
    let parts = parts();
    ask(&parts, 19, &[("k", "one")]);
    let first = parts.clock.now();
    let name = || parts.service.recent_buckets()[0].fingerprint;
    let seen = || parts.service.recent_bucket(name()).unwrap().at;
    parts.clock.advance(Nanos::new(1));
    ask(&parts, 1, &[("k", "one")]);
    assert_eq!(seen(), first);
    parts.clock.advance(NOTE_INTERVAL);
    ask(&parts, 1, &[("k", "one")]);
    assert_eq!(seen(), parts.clock.now());
}

#[test]
fn values_are_kept_as_they_came_and_cut_where_they_are_long() {
    let parts = parts();
    let (whole, long) = ("ë".repeat(MAX_CHARS), "ë".repeat(MAX_CHARS + 1));
    for value in ["a\n\u{1b}[31m\"", &whole, &long] {
        ask(&parts, 20, &[("k", value)]);
    }
    let mut told_of = told(&parts);
    told_of.sort();
    let told = |value| format!("d t/all k={value}: 0 over");
    let all = [told("a\n\u{1b}[31m\""), told(&whole), told(&format!("{whole}… cut"))];
    assert_eq!(told_of, all);
}

#[test]
fn it_is_told_how_they_stand_now_the_emptiest_first() {
    let parts = parts();
    ask(&parts, 19, &[("k", "one")]);
    ask(&parts, 20, &[("k", "two")]);
    assert_eq!(told(&parts), ["d t/all k=two: 0 over", "d t/all k=one: 1 near"]);
    parts.clock.advance(ONE.times(2));
    assert_eq!(told(&parts), ["d t/all k=two: 2 clear", "d t/all k=one: 3 clear"]);
}

#[test]
fn it_is_told_by_the_limit_in_force_and_not_by_that_of_the_last_call() {
    let parts = parts();
    ask(&parts, 20, &[("k", "one")]);
    let end = START.after(Nanos::from_secs(3600)).rfc3339();
    let raised = format!(
        "{POLICY}overrides: [{{ table: t, when: {{ k: one }}, until: {end}, buckets: [{{ per_day: 24 }}] }}]"
    );
    parts.replace(&source(&raised));
    assert_eq!(told(&parts), ["d t/all k=one: 4 clear"]);
    // A call meets it. It adds one in its hour, and is over: 19 of 20 are used.
    ask(&parts, 0, &[("k", "one")]);
    parts.clock.advance(Nanos::from_secs(3600));
    assert_eq!(told(&parts), ["d t/all k=one: 1 near"]);
    // A key that was cut is no longer known: its bucket is told by the limit of the last call.
    let long = "x".repeat(MAX_CHARS + 1);
    ask(&parts, 20, &[("k", &long)]);
    parts.replace(&source(&POLICY.replace("per_day: 20", "per_day: 40")));
    let mut told_of = told(&parts);
    told_of.sort();
    let cut = format!("d t/all k={}… cut: 0 over", "x".repeat(MAX_CHARS));
    assert_eq!(told_of, ["d t/all k=one: 21 clear".to_owned(), cut]);
}

#[test]
fn a_limit_that_envoy_brings_along_is_named_by_its_descriptor() {
    let parts = parts();
    parts.ask(&request("d", &[support::limit(1, 1, None, &[("k", "one"), ("other", "2")])]));
    assert_eq!(told(&parts), ["d limit override/request k=one other=2: 0 over"]);
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|key| (key, "1")).into();
    parts.ask(&request("d", &[support::limit(1, 1, None, &many)]));
    let cut = "d limit override/request a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 cut: 0 over";
    assert!(told(&parts).iter().any(|told| told == cut));
}
