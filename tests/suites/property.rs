//! The whole decision, from message to message, against a model that is slow, plain and obviously right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod calls;
mod descriptors;
mod model;
use crate::support;

use model::{Model, Sizes, policy};
use proptest::prelude::*;
use support::{Parts, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::config::Source;
use tollgate::store::memory::snapshot;

/// The same server after a restart from a snapshot, at the same time.
fn restarted(before: &Parts, policy: &[Source]) -> Parts {
    let now = before.clock.now();
    let restored = snapshot::read(&*before.snapshot(), 100_000, now).unwrap();
    Parts::restored(restored, now, policy)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_server_decides_as_the_model_does(
        (fast, slow, odd, slots) in (1_u32..8, 1_u32..20, 1_u32..9, 1_u32..5),
        calls in proptest::collection::vec(calls::call(), 1..80),
    ) {
        let sizes = Sizes { fast, slow, odd, slots };
        let policy = source(&policy(sizes));
        let mut parts = Parts::new(&policy, 100_000);
        let mut model = Model::default();
        let mut leases = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            if call.is_after_restart {
                parts = restarted(&parts, &policy);
            }
            parts.clock.advance(Nanos::new(call.after));
            model.pass(call.after.into());
            let answer = parts.ask(&call.message(&leases));
            model.check(sizes, call, &leases, &answer);
            leases.extend(answer.metadata("lease").map(str::to_owned));
            if at % 7 == 0 {
                parts.service.core().sweep();
            }
        }
    }
}
