//! A changed limit applies to what was used: by a reload, an override, the end of one, a limit that Envoy brings, and
//! over a snapshot.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use support::{Parts, START, call, hits, limit, request, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::MemoryStore;
use tollgate::store::memory::snapshot;

const K: &[(&str, &str)] = &[("k", "1")];
const HOUR: u64 = 3600;
const MINUTE: i32 = 2;

/// One table with this bucket for all calls, and overrides.
fn policy(bucket: &str, overrides: &str) -> String {
    format!(
        "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: [{{ {bucket} }}] }} }}]
overrides: [{overrides}]"
    )
}

fn parts(bucket: &str) -> Parts {
    Parts::new(&source(&policy(bucket, "")), 10_000)
}

fn reload(parts: &Parts, bucket: &str) {
    parts.replace(&source(&policy(bucket, "")));
}

/// Whether these hits are admitted, and what is left.
fn charge(parts: &Parts, count: u64) -> (bool, u32) {
    let answer = parts.ask(&request("d", &[hits(count, K)]));
    (answer.is_ok(), answer.remaining()[0])
}

/// What is left, as a call of no hits tells.
fn left(parts: &Parts) -> u32 {
    charge(parts, 0).1
}

fn wait(parts: &Parts, seconds: u64) {
    parts.clock.advance(Nanos::from_secs(seconds));
}

#[test]
fn a_raised_limit_leaves_what_it_has_more() {
    let parts = parts("per_hour: 2");
    assert_eq!(charge(&parts, 2), (true, 0));
    reload(&parts, "per_hour: 100");
    assert_eq!(left(&parts), 98);
    assert_eq!(charge(&parts, 98), (true, 0));
    assert_eq!(charge(&parts, 1), (false, 0));
    wait(&parts, 36);
    assert_eq!(charge(&parts, 1), (true, 0));
}

#[test]
fn a_lowered_limit_denies_until_what_was_used_beyond_it_is_repaid_at_the_new_rate() {
    let parts = parts("per_hour: 100");
    assert_eq!(charge(&parts, 50), (true, 50));
    reload(&parts, "per_hour: 10");
    let denial = parts.ask(&call(K));
    assert_eq!((denial.is_ok(), denial.remaining()), (false, vec![0]));
    // 50 were used; one of ten is left when 41 of them are repaid, six minutes each.
    assert_eq!(denial.number("retry-after"), 41 * 360);
    for _ in 0..40 {
        wait(&parts, 360);
        assert_eq!(charge(&parts, 1), (false, 0));
    }
    wait(&parts, 359);
    assert_eq!(charge(&parts, 1), (false, 0));
    wait(&parts, 1);
    assert_eq!(charge(&parts, 1), (true, 0));
}

#[test]
fn until_the_change_a_bucket_refills_at_the_old_rate_and_from_then_on_at_the_new_one() {
    let parts = parts("per_hour: 60");
    assert_eq!(charge(&parts, 60), (true, 0));
    // Nobody asks meanwhile.
    wait(&parts, 600);
    reload(&parts, "per_hour: 120");
    wait(&parts, 300);
    // 60 used, 10 repaid at one a minute, 10 at two.
    assert_eq!(left(&parts), 80);
    reload(&parts, "per_hour: 60");
    assert_eq!(left(&parts), 20);
    wait(&parts, 60);
    assert_eq!(left(&parts), 21);
}

#[test]
fn a_limit_changes_when_its_policy_comes_into_force_and_not_when_that_is_prepared() {
    let parts = parts("per_hour: 3600");
    let next = support::compiled(&source(&policy("per_hour: 6", "")), parts.key);
    let prepared = parts.policies.prepare(next, parts.clock.now());
    wait(&parts, 10);
    assert_eq!(charge(&parts, 10), (true, 3590));
    parts.policies.activate(prepared, parts.clock.now());
    assert_eq!(parts.ask(&call(K)).number("retry-after"), 5 * 600);
}

#[test]
fn a_reload_that_changes_something_else_is_no_change() {
    let parts = parts("per_hour: 60");
    assert_eq!(charge(&parts, 60), (true, 0));
    reload(&parts, "per_hour: 120");
    wait(&parts, 60);
    let text = policy("per_hour: 120", "").replace("domain: d", "domain: d\nheaders: off");
    parts.replace(&source(&text));
    wait(&parts, 60);
    assert_eq!(left(&parts), 64, "four are repaid at the new rate");
}

#[test]
fn a_limit_that_changes_there_and_back_has_the_same_left() {
    let parts = parts("per_minute: 7");
    assert_eq!(charge(&parts, 5), (true, 2));
    for bucket in ["per_minute: 1000", "size: 900, per_minute: 3", "per_minute: 7"] {
        reload(&parts, bucket);
        charge(&parts, 0);
    }
    assert_eq!(charge(&parts, 2), (true, 0));
    assert_eq!(charge(&parts, 1), (false, 0));
}

#[test]
fn an_override_changes_the_limit_of_the_rows_bucket_and_its_end_changes_it_back() {
    let parts = parts("per_hour: 10");
    assert_eq!(charge(&parts, 10), (true, 0));
    let end = START.after(Nanos::from_secs(2 * HOUR)).rfc3339();
    let raised =
        format!("{{ table: t, when: {{ k: \"1\" }}, until: {end}, buckets: [per_hour: 100] }}");
    parts.replace(&source(&policy("per_hour: 10", &raised)));
    assert_eq!(left(&parts), 90);
    assert_eq!(charge(&parts, 80), (true, 10));
    let other = parts.ask(&call(&[("k", "2")]));
    assert_eq!(other.remaining(), [9], "it is the limit of one key");
    wait(&parts, 2 * HOUR - 1);
    assert_eq!(left(&parts), 100);
    assert_eq!(charge(&parts, 100), (true, 0));
    // Half an hour later, and one second of it at a hundred an hour: nothing of ten, since 100 are used.
    wait(&parts, 1801);
    let denial = parts.ask(&call(K));
    assert_eq!((denial.is_ok(), denial.remaining()), (false, vec![0]));
    // 99 and 35 thirty-sixths are owed at the end, five are repaid since; nine may be owed: 85 and 35/36 of six minutes.
    assert_eq!(denial.number("retry-after"), 85 * 360 + 350);
}

#[test]
fn an_override_that_is_removed_has_its_charges_remembered() {
    let raised = "{ table: t, when: { k: \"1\" }, buckets: [per_hour: 100] }";
    let parts = Parts::new(&source(&policy("per_hour: 10", raised)), 10_000);
    assert_eq!(charge(&parts, 7), (true, 93));
    reload(&parts, "per_hour: 10");
    assert_eq!(left(&parts), 3);
}

#[test]
fn an_override_that_looks_beyond_the_key_has_buckets_of_its_own() {
    let fast = "{ table: t, when: { method: GET }, buckets: [per_hour: 100] }";
    let parts = Parts::new(&source(&policy("per_hour: 10", fast)), 10_000);
    let get = [("k", "1"), ("method", "GET")];
    assert_eq!(parts.ask(&request("d", &[hits(60, &get)])).remaining(), [40]);
    assert_eq!(left(&parts), 10);
    assert_eq!(charge(&parts, 10), (true, 0));
    assert_eq!(parts.ask(&call(&get)).remaining(), [39]);
}

#[test]
fn an_override_of_a_part_of_the_addresses_that_share_a_bucket_has_its_own() {
    let text = "domain: d
tables: [{ name: t, key: [remote_address], rows: { all: [{ per_hour: 10 }] } }]
overrides:
  - { table: t, when: { remote_address: { cidr: [10.0.0.0/8] } }, buckets: [{ per_hour: 100 }] }
  - { table: t, when: { remote_address: { cidr: ['2001:db8::1/128'] } }, buckets: [{ per_hour: 100 }] }";
    let parts = Parts::new(&source(text), 10_000);
    let ask = |address, count| {
        parts.ask(&request("d", &[hits(count, &[("remote_address", address)])])).remaining()[0]
    };
    assert_eq!([ask("10.0.0.1", 4), ask("2001:db8::1", 4), ask("2001:db8::2", 4)], [96, 96, 6]);
    parts.replace(&source(text.split("overrides").next().unwrap()));
    assert_eq!([ask("10.0.0.1", 0), ask("2001:db8::1", 0)], [6, 6]);
}

#[test]
fn a_limit_that_envoy_brings_applies_to_what_was_used_of_the_last() {
    let parts = parts("per_hour: 10");
    let brought = |count, most| {
        let mut descriptor = limit(most, MINUTE, None, K);
        descriptor.hits_addend = Some(count);
        let answer = parts.ask(&request("d", &[descriptor]));
        (answer.is_ok(), answer.remaining()[0])
    };
    assert_eq!(brought(20, 20), (true, 0));
    assert_eq!(brought(0, 100), (true, 80), "the tenant has bought more");
    assert_eq!(brought(30, 100), (true, 50));
    assert_eq!(brought(1, 20), (false, 0));
    // At 20 a minute, 31 of the 50 are repaid after 93 s.
    wait(&parts, 92);
    assert_eq!(brought(1, 20), (false, 0));
    wait(&parts, 1);
    assert_eq!(brought(1, 20), (true, 0));
    assert_eq!(left(&parts), 10, "the policy's own bucket was not touched");
}

#[test]
fn two_limits_that_one_request_brings_for_a_bucket_are_both_kept_in_either_order() {
    for (key, turned) in [("a", false), ("b", true)] {
        let parts = parts("per_hour: 10");
        let brought = |count, most| {
            let mut descriptor = limit(most, MINUTE, None, &[("k", key)]);
            descriptor.hits_addend = Some(count);
            descriptor
        };
        let mut both = [brought(50, 100), brought(1, 10)];
        let mut left = [50, 9];
        if turned {
            both.reverse();
            left.reverse();
        }
        let answer = parts.ask(&request("d", &both));
        assert_eq!((answer.is_ok(), answer.remaining()), (true, left.to_vec()));
    }
}

#[test]
fn a_limit_that_changed_while_the_server_was_down_applies_to_what_was_used_before() {
    let key = FingerprintKey::fixed(7);
    let text = |bucket| source(&policy(bucket, ""));
    let before = Parts::over(MemoryStore::new(10_000), key, &text("per_hour: 60"));
    assert_eq!(charge(&before, 60), (true, 0));
    let mut bytes = Vec::new();
    snapshot::write(&before.store, key, before.clock.now(), &mut bytes).unwrap();
    let restored = snapshot::read(&*bytes, 10_000, START).unwrap();
    let after = Parts::over(restored.store, restored.key, &text("per_hour: 1000"));
    assert_eq!(left(&after), 940);
    let restored = snapshot::read(&*bytes, 10_000, START).unwrap();
    let after = Parts::over(restored.store, restored.key, &text("per_hour: 30"));
    assert_eq!(after.ask(&call(K)).number("retry-after"), 31 * 120);
}

#[test]
fn an_absurd_change_denies_for_no_longer_than_a_bucket_may_take_to_fill() {
    let parts = parts("per_year: 4000000000");
    assert_eq!(charge(&parts, 4_000_000_000), (true, 0));
    reload(&parts, "per_year: 1");
    let denial = parts.ask(&call(K));
    assert!(!denial.is_ok());
    // 2^62 ns are owed at most, and the one token that may be owed is asked for.
    assert_eq!(denial.number("retry-after"), (1_u64 << 62).div_ceil(1_000_000_000));
    reload(&parts, "per_year: 4000000000");
    assert!(charge(&parts, 1).0, "146 are owed, a year each");
}
