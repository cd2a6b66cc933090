//! Calls at random: what is asked, and how it is put into a message.

use proptest::prelude::*;
use tollgate::wire::RateLimitRequest;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;

use super::model::{MatchedBucket, Sizes, met, replace_tokens};
use crate::support::{descriptor, request};

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) entries: Vec<(String, String)>,
    pub(crate) hits: Option<u64>,
    pub(crate) negative: bool,
    /// Releases the lease of this number, if there are any.
    pub(crate) release: Option<usize>,
    /// Whether it brings [`BROUGHT`] as its limit.
    pub(crate) brings_limit: bool,
}

/// A limit that Envoy brings: this many requests a minute.
pub(crate) const BROUGHT: u32 = 6;
const MINUTE: i32 = 2;

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) descriptors: Vec<Asked>,
    pub(crate) hits: u32,
    /// Time that passes before it.
    pub(crate) after: u64,
    /// Whether the server is restarted before it, from a snapshot.
    pub(crate) is_after_restart: bool,
}

impl Call {
    pub(crate) fn hits_of(&self, asked: &Asked) -> i128 {
        let count = asked.hits.unwrap_or(u64::from(self.hits.max(1)));
        let count = i128::from(count.min(i64::MAX as u64));
        if asked.negative { -count } else { count }
    }

    pub(crate) fn met(&self, sizes: Sizes) -> Vec<MatchedBucket> {
        let asked =
            self.descriptors.iter().enumerate().filter(|(_, asked)| asked.release.is_none());
        let met = asked.flat_map(|(descriptor, asked)| {
            let hits = self.hits_of(asked);
            let mut met = met(sizes, &asked.entries);
            if asked.brings_limit {
                replace_tokens(&mut met, &asked.entries);
            }
            met.into_iter().map(move |(label, name, kind, shadow, debt)| MatchedBucket {
                descriptor,
                label,
                name,
                kind,
                shadow,
                debt,
                hits,
            })
        });
        met.collect()
    }

    pub(crate) fn released<'a>(&'a self, leases: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.descriptors.iter().filter_map(|asked| Some(lease(leases, asked.release?)))
    }

    pub(crate) fn message(&self, leases: &[String]) -> RateLimitRequest {
        let descriptors: Vec<_> = self
            .descriptors
            .iter()
            .map(|asked| {
                let mut entries = asked.entries.clone();
                if let Some(number) = asked.release {
                    entries.push(("lease".into(), lease(leases, number).into()));
                }
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| (&**key, &**value)).collect();
                let mut descriptor = descriptor(&entries);
                descriptor.hits_addend = asked.hits;
                descriptor.is_negative_hits = asked.negative;
                descriptor.limit = asked.brings_limit.then_some(RateLimitOverride {
                    requests_per_unit: BROUGHT,
                    unit: MINUTE,
                    unit_multiplier: None,
                });
                descriptor
            })
            .collect();
        let mut message = request("model", &descriptors);
        message.hits_addend = self.hits;
        message
    }
}

pub(crate) fn lease(leases: &[String], number: usize) -> &str {
    let unknown = "00000000000000000000000000000000";
    if leases.is_empty() { unknown } else { &leases[number % leases.len()] }
}

fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    let key = prop_oneof![
        5 => Just("a"), 3 => Just("b"), 1 => Just("c"), 5 => Just("type"), 1 => Just("unknown")
    ];
    let entry = key.prop_flat_map(|key| {
        let values: &[&str] =
            if key == "type" { &["x", "y", "z", "zz", "free", "banned", ""] } else { &["1", "2"] };
        (Just(key.to_owned()), proptest::sample::select(values).prop_map(str::to_owned))
    });
    proptest::collection::vec(entry, 1..5)
}

fn hits() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(0)),
        4 => (1_u64..8).prop_map(Some),
        1 => proptest::sample::select(vec![41, 1_067_521, u64::from(u32::MAX), u64::MAX]).prop_map(Some),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let kind =
        prop_oneof![8 => Just((false, false)), 1 => Just((true, false)), 1 => Just((true, true))];
    let brings_limit = proptest::bool::weighted(0.1);
    (entries(), hits(), kind, any::<usize>(), brings_limit).prop_map(
        |(entries, hits, (negative, releases), number, brings_limit)| {
            // A count of 0 is a look even when it is negative, and a look releases nothing.
            let releases = releases && hits != Some(0);
            let release = releases.then_some(number);
            Asked { entries, hits, negative, release, brings_limit }
        },
    )
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let span = prop_oneof![
        4 => Just(0),
        4 => 0_u64..400_000_000,
        2 => 0_u64..20_000_000_000,
        1 => Just(30_000_000_000),
        1 => 0_u64..4_000_000_000_000,
    ];
    let restart = proptest::bool::weighted(0.05);
    (proptest::collection::vec(asked(), 1..4), 0_u32..3, span, restart).prop_map(
        |(descriptors, hits, after, is_after_restart)| Call {
            descriptors,
            hits,
            after,
            is_after_restart,
        },
    )
}
