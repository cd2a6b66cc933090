//! Tables that are charged whatever is left (`charge: always`), such as budgets of what a response has used.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::sync::atomic::{AtomicU64, Ordering};

use support::{Parts, START, give_back, hits, limit, request, source};
use tollgate::clock::Nanos;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::MemoryStore;
use tollgate::store::memory::snapshot;

const ANN: &[(&str, &str)] = &[("user", "ann")];
const MINUTE: i32 = 2;
const HOUR: i32 = 3;

/// A thousand tokens an hour: one each 3.6 s.
const BUDGET: &str = "
tables:
  - { name: tokens, charge: always, key: [user], rows: { all: [{ per_hour: 1000 }] } }";

/// The same, and ten requests a minute beside.
const BOTH: &str = "
tables:
  - { name: requests, when: { ask: { present: true } }, key: [user], rows: { all: [{ per_minute: 10 }] } }
  - { name: tokens, charge: always, key: [user], rows: { all: [{ per_hour: 1000 }] } }";

fn parts(rest: &str) -> Parts {
    Parts::new(&source(&format!("domain: d{rest}")), 10_000)
}

fn wait(parts: &Parts, tenths: u64) {
    parts.clock.advance(Nanos::new(tenths * 100_000_000));
}

/// Whether a request with these hits is admitted, and what is left.
fn charge(parts: &Parts, count: u64) -> (bool, u32) {
    let answer = parts.ask(&request("d", &[hits(count, ANN)]));
    (answer.is_ok(), answer.remaining()[0])
}

fn settle(parts: &Parts, unused: u64) -> (bool, u32) {
    let answer = parts.ask(&request("d", &[give_back(unused, ANN)]));
    (answer.is_ok(), answer.remaining()[0])
}

fn metric(parts: &Parts, series: &str) -> Option<u64> {
    let text = parts.telemetry.encode().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

#[test]
fn a_budget_is_asked_before_and_charged_after_whatever_is_left() {
    let parts = parts(BUDGET);
    // Two answers of 500 are paid for, and the third is not given.
    assert_eq!(charge(&parts, 0), (true, 1000));
    assert_eq!(charge(&parts, 500), (true, 500));
    assert_eq!(charge(&parts, 0), (true, 500));
    assert_eq!(charge(&parts, 500), (true, 0));
    assert_eq!(charge(&parts, 0), (false, 0));
    wait(&parts, 36);
    assert_eq!(charge(&parts, 0), (true, 1));
    // One token admits a request, whatever its answer uses.
    assert_eq!(charge(&parts, 5001), (true, 0));
    assert_eq!(charge(&parts, 0), (false, 0));
}

#[test]
fn what_is_owed_is_repaid_before_the_next_request_passes() {
    let parts = parts(BUDGET);
    assert_eq!(charge(&parts, 5000), (true, 0));
    let denial = parts.ask(&request("d", &[hits(0, ANN)]));
    assert!(!denial.is_ok());
    // 4000 are owed, and one has to be there: 4001 times 3.6 s. All that tells a time tells this one.
    let status = &denial.0.statuses[0];
    assert_eq!((status.limit_remaining, status.code), (0, 2));
    assert_eq!(status.duration_until_reset.as_ref().unwrap().seconds, 14_404);
    assert_eq!(denial.number("retry-after"), 14_404);
    assert_eq!(denial.number("x-ratelimit-remaining"), 0);
    assert_eq!(denial.number("x-ratelimit-reset"), START.as_unix_secs_ceil() + 14_404);
    wait(&parts, 4001 * 36 - 1);
    assert_eq!(charge(&parts, 0), (false, 0));
    wait(&parts, 1);
    assert_eq!(charge(&parts, 0), (true, 1));
}

#[test]
fn a_charge_on_a_bucket_that_owes_is_made_and_answered_over_limit() {
    let parts = parts(BUDGET);
    assert_eq!(charge(&parts, 1500), (true, 0));
    let answer = parts.ask(&request("d", &[hits(100, ANN)]));
    // 600 are owed now.
    assert_eq!((answer.is_ok(), answer.number("retry-after")), (false, 601 * 36 / 10 + 1));
    assert_eq!(charge(&parts, 0), (false, 0));
    wait(&parts, 601 * 36);
    assert_eq!(charge(&parts, 0), (true, 1));
}

#[test]
fn a_denial_by_another_bucket_charges_no_bucket_but_these() {
    let parts = parts(BOTH);
    let asked: &[(&str, &str)] = &[("user", "ann"), ("ask", "1")];
    let both = |count| parts.ask(&request("d", &[hits(count, asked)]));
    let answer = both(10);
    assert_eq!((answer.is_ok(), charge(&parts, 0)), (true, (true, 990)));
    // No request is left in this minute: the tokens are charged all the same.
    assert_eq!((both(10).is_ok(), charge(&parts, 0)), (false, (true, 980)));
    // And if the tokens deny, no request is charged.
    wait(&parts, 600);
    charge(&parts, 5000);
    assert_eq!(both(3).denied_by().0, "tokens");
    assert_eq!(settle(&parts, 6000), (true, 1000));
    assert!(both(10).is_ok());
    assert!(!both(1).is_ok());
}

#[test]
fn an_estimate_is_settled_by_more_hits_or_by_negative_ones() {
    let parts = parts(BOTH);
    assert_eq!(charge(&parts, 400), (true, 600));
    assert_eq!(settle(&parts, 150), (true, 750));
    assert_eq!(charge(&parts, 400), (true, 350));
    assert_eq!(charge(&parts, 1000), (true, 0));
    // What is given back while tokens are owed is given back, and is no request that could be denied.
    assert_eq!(settle(&parts, 600), (true, 0));
    assert_eq!(charge(&parts, 0), (false, 0));
    assert_eq!(settle(&parts, 100), (true, 50));
    // Also by a request that another bucket denies.
    let asked: &[(&str, &str)] = &[("user", "ann"), ("ask", "1")];
    parts.ask(&request("d", &[hits(10, asked)]));
    let answer =
        parts.ask(&request("d", &[give_back(60, ANN), hits(1, &[("user", "bob"), ("ask", "1")])]));
    assert!(answer.is_ok());
    let denied = parts
        .ask(&request("d", &[give_back(500, ANN), hits(11, &[("user", "bob"), ("ask", "1")])]));
    assert_eq!((denied.is_ok(), charge(&parts, 0)), (false, (true, 600)));
    assert_eq!(settle(&parts, u64::MAX), (true, 1000));
}

#[test]
fn several_descriptors_charge_a_bucket_once_with_the_largest_hits() {
    let parts = parts(BUDGET);
    let answer = parts.ask(&request("d", &[hits(20, ANN), hits(0, ANN), hits(1200, ANN)]));
    assert_eq!((answer.is_ok(), answer.remaining()), (true, vec![0, 0, 0]));
    assert_eq!(charge(&parts, 0), (false, 0));
    assert_eq!(settle(&parts, 201), (true, 1));
}

#[test]
fn a_debt_is_no_larger_than_the_policy_allows_and_the_rest_is_counted() {
    let parts = parts(
        "
tables:
  - { name: tokens, charge: always, most_owed: 500, key: [user], rows: { all: [{ per_hour: 1000 }] } }",
    );
    let series = "tollgate_uncharged_tokens_total{domain=\"d\",table=\"tokens\",row=\"all\"}";
    assert_eq!(charge(&parts, 1400), (true, 0));
    assert_eq!(metric(&parts, series), Some(0));
    assert_eq!(charge(&parts, 300), (false, 0));
    assert_eq!(metric(&parts, series), Some(200));
    assert_eq!(charge(&parts, 7), (false, 0));
    assert_eq!(metric(&parts, series), Some(207));
    let denial = parts.ask(&request("d", &[hits(0, ANN)]));
    assert_eq!(denial.number("retry-after"), 501 * 36 / 10 + 1);
    // Huge counts owe what the arithmetic allows: they are no error, and nothing overflows.
    let parts = self::parts(BUDGET);
    assert_eq!(charge(&parts, u64::MAX), (true, 0));
    assert_eq!(charge(&parts, u64::MAX), (false, 0));
    assert_eq!(metric(&parts, series), Some(2 * u64::from(u32::MAX)));
    assert_eq!(settle(&parts, u64::MAX), (true, 1000));
}

#[test]
fn a_shadow_row_owes_and_denies_nobody() {
    let parts = parts(
        "
tables:
  - name: tokens
    shadow: true
    key: [user]
    rows: { all: { charge: always, buckets: [{ per_hour: 1000 }, { per_minute: 600 }] } }
  - { name: seen, key: [user], rows: { all: [{ per_day: 5 }] } }",
    );
    let answer = |count| parts.ask(&request("d", &[hits(count, ANN)]));
    assert!(!answer(1500).is_ok(), "five a day");
    // Although the other row denied, 1500 were charged to the row in shadow, which owes in both buckets.
    let shadowed = answer(0);
    assert!(shadowed.is_ok());
    let over = "tollgate_decisions_total{domain=\"d\",table=\"tokens\",row=\"all\",outcome=\"shadow_over_limit\"}";
    assert_eq!(metric(&parts, over), Some(1));
    wait(&parts, 9000);
    assert!(answer(0).is_ok());
    assert_eq!(metric(&parts, over), Some(2));
    wait(&parts, 9036);
    assert!(answer(0).is_ok());
    assert_eq!(metric(&parts, over), Some(2));
}

#[test]
fn rows_and_tables_say_how_they_are_charged_and_overrides_are_charged_as_their_rows() {
    let parts = parts(
        "
tables:
  - name: tokens
    charge: always
    select: plan
    key: [user]
    rows:
      strict: { charge: if_admitted, buckets: [{ per_hour: 100 }] }
      bounded: { most_owed: 10, buckets: [{ per_hour: 100 }] }
      default: [{ per_hour: 100 }]
overrides:
  - { table: tokens, row: default, when: { user: big }, buckets: [{ per_hour: 200 }] }",
    );
    let left = |user, plan, count| {
        let entries: &[(&str, &str)] = &[("user", user), ("plan", plan)];
        let answer = parts.ask(&request("d", &[hits(count, entries)]));
        let asked = parts.ask(&request("d", &[hits(0, entries)]));
        (
            answer.is_ok(),
            asked.is_ok(),
            asked.remaining()[0],
            asked.header("retry-after").map(str::to_owned),
        )
    };
    assert_eq!(left("ann", "strict", 150), (false, true, 100, None));
    // 36 s for a token: eleven until one is there.
    assert_eq!(left("ann", "bounded", 150), (true, false, 0, Some("396".into())));
    assert_eq!(left("ann", "", 150), (true, false, 0, Some((51 * 36).to_string())));
    assert_eq!(left("big", "", 250), (true, false, 0, Some((51 * 18).to_string())));
}

#[test]
fn a_limit_that_envoy_brings_is_charged_as_the_table_whose_place_it_takes() {
    let parts = parts(BUDGET);
    let brought = |count| {
        let mut asked = limit(100, HOUR, None, ANN);
        asked.hits_addend = Some(count);
        let answer = parts.ask(&request("d", &[asked]));
        (answer.is_ok(), answer.remaining()[0])
    };
    assert_eq!(brought(150), (true, 0));
    assert_eq!(brought(0), (false, 0));
    wait(&parts, 51 * 360);
    assert_eq!(brought(0), (true, 1));
    // In the place of a table that is charged if it admits, it is charged so.
    let parts = self::parts(
        "\ntables: [{ name: calls, key: [user], rows: { all: [{ per_hour: 1000 }] } }]",
    );
    let mut asked = limit(100, MINUTE, None, ANN);
    asked.hits_addend = Some(150);
    assert!(!parts.ask(&request("d", &[asked])).is_ok());
}

#[test]
fn a_debt_survives_a_restart_and_a_changed_policy() {
    let key = FingerprintKey::fixed(7);
    let policy = source(&format!("domain: d{BUDGET}"));
    let before = Parts::over(MemoryStore::new(10_000), key, &policy);
    assert_eq!(charge(&before, 1500), (true, 0));
    let restored = snapshot::read(&*before.snapshot(), 10_000, START).unwrap();
    let after = Parts::restored(restored, START, &policy);
    assert_eq!(charge(&after, 0), (false, 0));
    // Charged if it admits, it is the same bucket.
    let changed = policy_text().replace("charge: always, ", "");
    after.replace(&source(&changed));
    wait(&after, 500 * 36);
    assert_eq!(charge(&after, 1), (false, 0));
    wait(&after, 36);
    assert_eq!(charge(&after, 1), (true, 0));
    assert_eq!(charge(&after, 1), (false, 0));
}

fn policy_text() -> String {
    format!("domain: d{BUDGET}")
}

#[test]
fn a_debt_is_kept_under_a_slower_limit_although_nobody_asks() {
    let policy = |rate| {
        let table = "{ name: tokens, charge: always, key: [user], rows: { all: [{ size: 1000, per_hour: RATE }] } }";
        source(&format!("domain: d\ntables: [{}]", table.replace("RATE", rate)))
    };
    let parts = Parts::new(&policy("1000"), 10_000);
    assert_eq!(charge(&parts, 3000), (true, 0));
    parts.replace(&policy("100"));
    // Under the old limit, all of it were repaid in three hours: more than the bucket holds takes.
    for _ in 0..4 {
        wait(&parts, 36_000);
        parts.sweep();
    }
    // 400 of 3000 are repaid.
    let denial = parts.ask(&request("d", &[hits(0, ANN)]));
    assert_eq!((denial.is_ok(), denial.number("retry-after")), (false, 1601 * 36));
}

#[test]
fn racing_settlements_lose_no_charge() {
    let parts = parts(
        "
tables:
  - { name: requests, when: { ask: { present: true } }, key: [user], rows: { all: [{ per_day: 300 }] } }
  - { name: tokens, charge: always, key: [user], rows: { all: [{ per_day: 1000000 }] } }",
    );
    let (threads, rounds) = (8_u64, 2_000_u64);
    let spent = AtomicU64::new(0);
    let asked: &[(&str, &str)] = &[("user", "ann"), ("ask", "1")];
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (parts, spent) = (&parts, &spent);
            scope.spawn(move || {
                for round in 0..rounds {
                    let (estimate, used) =
                        (1 + (round + thread) % 7, 1 + round * (thread + 3) % 11);
                    // Most of these are denied by the requests of the day, and charged all the same.
                    parts.ask(&request("d", &[hits(estimate, asked)]));
                    let settled = match used.checked_sub(estimate) {
                        Some(more) => hits(more, ANN),
                        None => give_back(estimate - used, ANN),
                    };
                    parts.ask(&request("d", &[settled]));
                    spent.fetch_add(used, Ordering::Relaxed);
                }
            });
        }
    });
    let spent = spent.into_inner();
    assert!(spent > 50_000);
    let left = parts.ask(&request("d", &[hits(0, ANN)])).remaining()[0];
    assert_eq!(u64::from(left) + spent, 1_000_000);
}

#[test]
fn a_policy_that_cannot_mean_what_it_says_is_refused() {
    let problems = |table: &str| {
        let text = format!("domain: d\ntables: [{{ name: t, key: [], {table} }}]");
        let key = FingerprintKey::fixed(1);
        tollgate::config::compile(&source(&text), key).unwrap_err().to_string()
    };
    let bucket = "{ per_hour: 1 }";
    for (table, what) in [
        (format!("most_owed: 5, rows: {{ all: [{bucket}] }}"), "needs `charge: always`"),
        (
            format!(
                "charge: always, rows: {{ all: {{ charge: if_admitted, most_owed: 5, buckets: [{bucket}] }} }}"
            ),
            "needs `charge: always`",
        ),
        (
            "charge: always, rows: { all: [{ concurrent: 1, ttl: 1s }] }".into(),
            "`charge` is about token buckets",
        ),
        (
            "rows: { all: { charge: always, buckets: blocked } }".into(),
            "`charge` is about token buckets",
        ),
        (
            format!("charge: alway, rows: {{ all: [{bucket}] }}"),
            "unknown choice `alway`; did you mean `always`?",
        ),
        (format!("charge: always, most_owed: -1, rows: {{ all: [{bucket}] }}"), "0 to 4294967295"),
    ] {
        let told = problems(&table);
        assert!(told.contains(what), "{table}: {told}");
    }
}
