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
use tollgate::clock::{Clock, Nanos, Timestamp};
use tollgate::descriptor::Entry;
use tollgate::limit::CompactInterval;
use tollgate::service::Inspected;
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

/// Everything lasts as long as this, and is swept twice a minute.
fn wait_swept(parts: &Parts, seconds: u64) {
    for _ in 0..seconds / 30 {
        wait(parts, 30);
        parts.sweep();
    }
    wait(parts, seconds % 30);
    parts.sweep();
}

/// Another process, which has restored a snapshot of these parts after so many seconds.
fn restarted(parts: &Parts, seconds: u64, bucket: &str) -> Parts {
    let at = parts.clock.now().after(Nanos::from_secs(seconds));
    let restored = snapshot::read(&*parts.snapshot(), 10_000, at).unwrap();
    Parts::restored(restored, at, &source(&policy(bucket, "")))
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
    let before = parts("per_hour: 60");
    assert_eq!(charge(&before, 60), (true, 0));
    assert_eq!(left(&restarted(&before, 0, "per_hour: 1000")), 940);
    let after = restarted(&before, 0, "per_hour: 30");
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

const FAST: &str = "size: 100, per_hour: 100";
const SLOW: &str = "size: 100, per_hour: 5";

/// All is used under the first limit, which the second replaces ten minutes later. It would have been full after fifty
/// more.
fn slowed(parts: &Parts) {
    assert_eq!(charge(parts, 100), (true, 0));
    wait_swept(parts, 600);
    reload(parts, SLOW);
}

#[test]
fn what_was_owed_at_a_change_to_a_slower_limit_is_owed_although_nobody_asks_for_long() {
    let parts = parts(FAST);
    slowed(&parts);
    wait_swept(&parts, 80 * 60);
    // 16 and two thirds of the hundred are repaid by the change, and 6 and two thirds in the 80 minutes since.
    assert_eq!(left(&parts), 23);
    wait_swept(&parts, 479);
    assert_eq!(left(&parts), 23);
    wait_swept(&parts, 1);
    assert_eq!(left(&parts), 24);
}

#[test]
fn policies_tell_which_limits_were_slowed_since_a_moment() {
    let parts = parts(FAST);
    let interval = |seconds| CompactInterval::of(Nanos::from_secs(seconds));
    let slowed_after = |at| {
        let policies = parts.service.policies().load_full();
        let slowed = policies.limits().slowed_after(at);
        [36, 720].map(|seconds| slowed.slowest_after(interval(seconds)))
    };
    let begun = parts.clock.now();
    assert_eq!(slowed_after(Timestamp::default()), [None, None]);
    wait_swept(&parts, 1);
    reload(&parts, SLOW);
    assert_eq!(slowed_after(begun), [Some(Nanos::from_secs(720)), None]);
    assert_eq!(slowed_after(parts.clock.now()), [None, None], "that is known");
    wait_swept(&parts, 1);
    reload(&parts, FAST);
    assert_eq!(slowed_after(begun), [None, None]);
}

#[test]
fn a_bucket_that_nobody_asks_for_has_as_much_left_as_one_that_is_asked_for() {
    let asked = parts(FAST);
    slowed(&asked);
    let rest = 80 * 720 + 2_400;
    for seconds in [0, 1, 2_999, 3_000, 3_001, 10_000, rest - 1, rest, rest + 1] {
        let unasked = parts(FAST);
        slowed(&unasked);
        wait_swept(&unasked, seconds);
        asked.clock.set(unasked.clock.now());
        assert_eq!(left(&unasked), left(&asked), "{seconds} s after the change");
    }
}

#[test]
fn a_bucket_is_removed_once_it_is_full_under_the_slower_limit() {
    let parts = parts(FAST);
    slowed(&parts);
    // 83 and a third are owed, 720 s each.
    wait_swept(&parts, 59_999);
    assert_eq!(parts.store.len(), 1);
    wait_swept(&parts, 1);
    assert!(parts.store.is_empty());
    // What is charged from now on was not charged under the faster limit.
    let of_another_row = policy(SLOW, "").replace(
        "tables: [",
        "tables: [{ name: u, key: [u], rows: \
        { all: [{ size: 100, per_hour: 100 }] } }, ",
    );
    parts.replace(&source(&of_another_row));
    parts.ask(&request("d", &[hits(100, &[("u", "1")])]));
    wait_swept(&parts, 3_600);
    assert!(parts.store.is_empty());
}

#[test]
fn what_was_owed_at_the_end_of_an_override_is_owed_although_nobody_asks_for_long() {
    let end = START.after(Nanos::from_secs(600)).rfc3339();
    let raised =
        format!("{{ table: t, when: {{ k: \"1\" }}, until: {end}, buckets: [{{ {FAST} }}] }}");
    let parts = Parts::new(&source(&policy(SLOW, &raised)), 10_000);
    assert_eq!(charge(&parts, 100), (true, 0));
    wait_swept(&parts, 600 + 80 * 60);
    assert_eq!(left(&parts), 23);
}

#[test]
fn a_bucket_that_was_full_under_an_override_in_between_owes_nothing() {
    let until = |seconds, bucket| {
        let end = START.after(Nanos::from_secs(seconds)).rfc3339();
        format!("{{ table: t, when: {{ k: \"1\" }}, until: {end}, buckets: [{{ {bucket} }}] }}")
    };
    let both = [until(600, FAST), until(3 * HOUR, "size: 100, per_hour: 200")].join(", ");
    let parts = Parts::new(&source(&policy(SLOW, &both)), 10_000);
    assert_eq!(charge(&parts, 100), (true, 0));
    wait_swept(&parts, 3 * HOUR - 1);
    assert_eq!(parts.store.len(), 1, "another key may be limited by the row");
    wait(&parts, 2);
    assert_eq!(left(&parts), 100);
}

#[test]
fn of_several_changes_without_a_call_the_last_counts() {
    let thrice = |last| {
        let parts = parts(FAST);
        slowed(&parts);
        wait_swept(&parts, 600);
        reload(&parts, last);
        wait_swept(&parts, 80 * 60);
        left(&parts)
    };
    // At a hundred an hour for 20 minutes, 33 and a third are repaid; 13 and a third at ten an hour since.
    assert_eq!(thrice("size: 100, per_hour: 10"), 46);
    assert_eq!(thrice(FAST), 100, "as if the limit had never changed");
    let parts = parts(FAST);
    slowed(&parts);
    wait_swept(&parts, 2 * HOUR);
    reload(&parts, "size: 100, per_hour: 4");
    assert_eq!(left(&parts), 100);
}

#[test]
fn a_restart_does_not_forget_what_is_owed_under_a_slower_limit() {
    let before = parts(FAST);
    slowed(&before);
    wait_swept(&before, 3_000 + 600);
    let after = restarted(&before, 1_200, SLOW);
    wait_swept(&after, 0);
    assert_eq!(left(&after), 23);
    // And again, with a snapshot of which the bucket was never asked for.
    let after = restarted(&restarted(&before, 600, SLOW), 600, SLOW);
    wait_swept(&after, 0);
    assert_eq!(left(&after), 23);
}

#[test]
fn a_limit_that_became_slower_while_the_server_was_down_changes_at_the_restart() {
    let before = parts(FAST);
    assert_eq!(charge(&before, 100), (true, 0));
    let after = restarted(&before, 600, SLOW);
    wait_swept(&after, 80 * 60);
    assert_eq!(left(&after), 23);
    // It was full at the restart.
    let after = restarted(&before, 3_600, SLOW);
    assert_eq!(left(&after), 100);
}

#[test]
fn an_override_that_ended_while_the_server_was_down_has_its_end() {
    let end = START.after(Nanos::from_secs(600)).rfc3339();
    let raised =
        format!("{{ table: t, when: {{ k: \"1\" }}, until: {end}, buckets: [{{ {FAST} }}] }}");
    let text = source(&policy(SLOW, &raised));
    let before = Parts::new(&text, 10_000);
    assert_eq!(charge(&before, 100), (true, 0));
    let at = START.after(Nanos::from_secs(600 + 80 * 60));
    let restored = snapshot::read(&*before.snapshot(), 10_000, at).unwrap();
    let after = Parts::restored(restored, at, &text);
    after.sweep();
    assert_eq!(left(&after), 23);
}

#[test]
fn of_a_full_store_what_is_only_owed_under_a_slower_limit_goes_first() {
    let parts = Parts::new(&source(&policy(FAST, "")), 64);
    let ask = |number: u32, count| {
        let key = number.to_string();
        parts.ask(&request("d", &[hits(count, &[("k", &key)])])).remaining()[0]
    };
    (0..32).for_each(|number| assert_eq!(ask(number, 100), 0));
    wait_swept(&parts, 600);
    reload(&parts, SLOW);
    wait_swept(&parts, 3_000);
    assert_eq!(parts.store.len(), 32);
    (100..140).for_each(|number| assert_eq!(ask(number, 100), 0));
    assert_eq!((parts.store.len(), parts.store.evictions()), (64, 0));
    (100..140).for_each(|number| assert_eq!(ask(number, 0), 0));
}

#[test]
fn an_administrator_who_looks_at_a_bucket_does_not_change_what_it_owes() {
    let parts = parts(FAST);
    slowed(&parts);
    wait_swept(&parts, 80 * 60);
    let loaded = parts.policies.load_full();
    let policy = &loaded.get("d").unwrap().policy;
    let entry = Entry { key: "k".into(), value: b"1" };
    let named = policy.buckets_for(&[entry], parts.clock.now());
    let named: Vec<_> = named.iter().map(Inspected::from).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (outcomes, _) = runtime.block_on(parts.service.peek_many(&named)).unwrap();
    assert_eq!(outcomes[0].remaining, 23);
    assert_eq!(left(&parts), 23);
}
