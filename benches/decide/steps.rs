//! One caller, asking over and over: each step of a call, by the number of buckets it meets.

use std::fmt;

use divan::{Bencher, black_box};
use tollgate::clock::Nanos;
use tollgate::descriptor::Query;
use tollgate::policy::HeaderStyle;
use tollgate::{decision, reply, wire};

use crate::support::{
    NOW, Parts, Shape, USUAL, message, shipped_message, tenant, tree, tree_message,
};

#[derive(Clone, Copy)]
struct Case {
    buckets: usize,
    /// Whether the last bucket of each row has nothing left.
    is_denied: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_denied { "denied" } else { "admitted" };
        write!(f, "{} {what}", self.buckets)
    }
}

impl Case {
    fn parts(self) -> Parts {
        Parts::of(Shape { buckets: self.buckets, ..USUAL })
    }

    fn message(self) -> Vec<u8> {
        message(if self.is_denied { "spent" } else { "type_0" }, &tenant(0), None)
    }
}

/// In this time every bucket of the shipped policy that a usual call meets is full again.
const MINUTE: Nanos = Nanos::from_secs(60);

const BUCKETS: [usize; 4] = [1, 2, 4, 8];

fn cases() -> impl Iterator<Item = Case> {
    let of = |is_denied| BUCKETS.into_iter().map(move |buckets| Case { buckets, is_denied });
    of(false).chain(of(true))
}

/// A question as Envoy sends it: one descriptor of five entries.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let path = "/api/v2/organizations/org_1/members";
    let message = shipped_message("enterprise_production", "acme", "GET", path);
    bencher.bench_local(|| {
        let mut query = Query::default();
        wire::decode_into(black_box(&message), &mut query).unwrap();
        black_box(&query).len()
    });
}

#[divan::bench(args = BUCKETS)]
fn resolve(bencher: Bencher<'_, '_>, buckets: usize) {
    let case = Case { buckets, is_denied: false };
    let (parts, message) = (case.parts(), case.message());
    let query = wire::decode(&message).unwrap();
    bencher.bench_local(|| parts.policy().resolve(black_box(&query), NOW).matched.len());
}

#[divan::bench(args = cases())]
fn decide(bencher: Bencher<'_, '_>, case: Case) {
    let (parts, message) = (case.parts(), case.message());
    let query = wire::decode(&message).unwrap();
    let plan = parts.policy().resolve(&query, NOW);
    parts.decide(&query);
    bencher
        .bench_local(|| decision::decide(black_box(&plan), &parts.store, NOW).unwrap().is_admitted);
}

#[divan::bench(args = cases())]
fn encode(bencher: Bencher<'_, '_>, case: Case) {
    let (parts, message) = (case.parts(), case.message());
    let query = wire::decode(&message).unwrap();
    let plan = parts.policy().resolve(&query, NOW);
    parts.decide(&query);
    let verdict = decision::decide(&plan, &parts.store, NOW).unwrap();
    bencher.bench_local(|| {
        let denials = &parts.loaded().denials;
        wire::encode_framed(&reply::compose(
            black_box(&verdict),
            1,
            HeaderStyle::Epoch,
            denials,
            NOW,
        ))
    });
}

/// All of it: from bytes to bytes.
#[divan::bench(args = cases())]
fn answer(bencher: Bencher<'_, '_>, case: Case) {
    let (parts, message) = (case.parts(), case.message());
    parts.answer(&message).unwrap();
    bencher.bench_local(|| parts.answer(black_box(&message)).unwrap().is_over_limit);
}

/// Match and decide a limit at the fifth level of a ratelimit configuration.
#[divan::bench]
fn decide_tree(bencher: Bencher<'_, '_>) {
    let (parts, message) = (Parts::new(&tree(), 100_000), tree_message());
    let query = wire::decode(&message).unwrap();
    assert!(parts.decide(&query));
    bencher.bench_local(|| parts.decide(black_box(&query)));
}

/// The shipped policy, asked as Envoy asks: five entries, method and path to be resolved, four buckets.
mod shipped {
    use super::*;

    const PATH: &str = "/api/v2/organizations/org_1/members";

    fn asked() -> (Parts, Vec<u8>) {
        let parts = Parts::shipped();
        let message = shipped_message("enterprise_production", "acme", "GET", PATH);
        assert!(!parts.answer(&message).unwrap().is_over_limit);
        (parts, message)
    }

    /// tollgate's own share of a call: match, fingerprints, decide, reply. The tenant's minute passes before
    /// each call, so that it is admitted.
    #[divan::bench]
    fn share(bencher: Bencher<'_, '_>) {
        let (parts, message) = asked();
        let query = wire::decode(&message).unwrap();
        let mut now = NOW;
        bencher.bench_local(|| {
            now = now.after(MINUTE);
            let plan = parts.policy().resolve(black_box(&query), now);
            let verdict = decision::decide(&plan, &parts.store, now).unwrap();
            let denials = &parts.loaded().denials;
            wire::encode_framed(&reply::compose(&verdict, 1, HeaderStyle::Epoch, denials, now))
        });
    }

    /// From bytes to bytes.
    #[divan::bench]
    fn answer(bencher: Bencher<'_, '_>) {
        let (parts, message) = asked();
        bencher.bench_local(|| {
            parts.clock.advance(MINUTE);
            parts.answer(black_box(&message)).unwrap().is_over_limit
        });
    }
}
