//! Descriptors of a request to a tree: each is decided as if it were asked alone, in their order.

use proptest::prelude::*;
use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;

use crate::support::{Parts, descriptor, limit, request, source};

/// Limits of each kind, but for those that are meant to affect others: none replaces one.
const TREE: &str = "domain: d
descriptors:
  - { key: a, rate_limit: { unit: minute, requests_per_unit: 3 } }
  - { key: a, value: x, rate_limit: { unit: hour, requests_per_unit: 5, name: of x } }
  - { key: a, value: p*, share_threshold: true, rate_limit: { unit: second, requests_per_unit: 4 } }
  - { key: b, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 6 } }
  - { key: c, quota_mode: true, rate_limit: { unit: week, requests_per_unit: 2 } }
  - { key: none, rate_limit: { unit: month, requests_per_unit: 0 } }
  - { key: most, rate_limit: { unit: year, requests_per_unit: 4294967294 } }
  - { key: free, rate_limit: { unlimited: true } }
  - key: parent
    rate_limit: { unit: minute, requests_per_unit: 7 }
    descriptors: [{ key: a, rate_limit: { unit: minute, requests_per_unit: 3 } }]
";

const ENTRIES: [&[(&str, &str)]; 14] = [
    &[("a", "x")],
    &[("a", "y")],
    &[("a", "z")],
    &[("a", "p1")],
    &[("a", "p2")],
    &[("b", "1")],
    &[("c", "1")],
    &[("none", "1")],
    &[("most", "1")],
    &[("free", "1")],
    &[("parent", "1")],
    &[("parent", "1"), ("a", "y")],
    &[("unmatched", "1")],
    &[],
];

/// One of [`ENTRIES`], with hits of its own or those of the request, and perhaps a limit of 1 to 5 a minute.
fn one() -> impl Strategy<Value = RateLimitDescriptor> {
    let hits = prop_oneof![
        4 => Just(None),
        4 => (0_u64..5).prop_map(Some),
        1 => Just(Some(u64::MAX)),
    ];
    let brought = prop::option::weighted(0.2, 1_u32..6);
    (0..ENTRIES.len(), hits, prop::bool::weighted(0.1), brought).prop_map(
        |(at, hits, is_given_back, brought)| {
            const MINUTE: i32 = 2;
            let entries = ENTRIES[at];
            let mut asked = brought.map_or_else(
                || descriptor(entries),
                |requests| limit(requests, MINUTE, None, entries),
            );
            asked.hits_addend = hits;
            asked.is_negative_hits = is_given_back && hits.is_some();
            asked
        },
    )
}

/// A request, and the milliseconds that pass before it. Hits are given back alone: what is given back beyond the count of a
/// window is lost, but not to others of the same request.
fn step() -> impl Strategy<Value = (u64, RateLimitRequest)> {
    let descriptors = prop::collection::vec(one(), 1..6);
    (0_u64..40_000, descriptors, 0_u32..4).prop_map(|(after, mut descriptors, hits)| {
        if descriptors.len() > 1 {
            descriptors.iter_mut().for_each(|asked| asked.is_negative_hits = false);
        }
        (after, RateLimitRequest { hits_addend: hits, ..request("d", &descriptors) })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_descriptors_of_a_request_do_not_affect_each_other(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let [together, alone] = [(); 2].map(|()| Parts::new(&source(TREE), 10_000));
        for (after, asked) in steps {
            let span = Nanos::new(after * 1_000_000);
            [&together, &alone].iter().for_each(|parts| parts.clock.advance(span));
            let statuses = together.ask(&asked).0.statuses;
            let each = asked.descriptors.iter().flat_map(|one| {
                let asked = RateLimitRequest { descriptors: vec![one.clone()], ..asked.clone() };
                alone.ask(&asked).0.statuses
            });
            prop_assert_eq!(statuses, each.collect::<Vec<_>>(), "{:?}", asked);
        }
    }
}
