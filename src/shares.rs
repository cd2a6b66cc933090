//! Divides the buckets of a policy between Envoys that limit by themselves (RLQS, `docs/quota.md`).
//!
//! Envoy groups requests by a *bucket id*, which is a descriptor, and reports how many it let through and denied. A
//! *holder* is one bucket id of one stream, so of one Envoy. It meets the buckets that the policy has for the
//! descriptor, and gets a *share*: a rate and a size, of which Envoy makes a token bucket of its own. The [`Ledger`] knows
//! all holders, what each of them uses, and what is left in the buckets; it has no clock, no store and no connection.
//!
//! # From a report to assignments
//!
//! report → [`Ledger::report`]: demand, and what was used → [`Ledger::charges`]: what is to be charged in the store →
//! [`Ledger::charged`]: what is left there → [`Ledger::assign`]: max-min [fair] shares of the buckets that changed, and
//! who has to be told
//!
//! # What is charged, and when
//!
//! Reports come every 5 seconds, and a bucket may hold less than it gains in that time: charged at once, a report would
//! find less than it needs, and the rest would be lost. So a holder is charged for its *predicted* use as time goes by,
//! the smaller of its demand and its share, and each report corrects what was predicted. A bucket that owes something pays
//! it back over the next five seconds, since the shares are smaller by it.
//!
//! What requests that are decided one by one take from the same buckets is seen in the store: it is less there than what
//! was left and has been gained since. They count as one more holder. What the holders of other replicas want and have
//! been assigned, these tell through the store ([`Claims`]).

mod assignment;
mod claims;
pub mod fair;
mod holder;
mod holders;
mod ledger;
mod shared_bucket;
mod terms;

pub use self::assignment::{Action, Assignment, BucketId, Order, StreamId, Usage};
pub use self::claims::{BucketClaim, Claims, ReplicaId, Wanted};
pub use self::ledger::{Event, Ledger, Settings, Share};
pub use self::shared_bucket::DueCharge;
pub use self::terms::{
    Inexpressible, InexpressibleRows, Row, WhyFree, divided_rows, inexpressible,
};

use crate::clock::Nanos;

/// How often Envoy 1.40 reports, in seconds, whatever its configuration says.
const REPORT_INTERVAL: f64 = 5.0;

/// A span in seconds.
fn seconds(span: Nanos) -> f64 {
    std::time::Duration::from(span).as_secs_f64()
}

/// A number of requests or tokens, for arithmetic with rates. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^53")]
const fn count(of: u64) -> f64 {
    of as f64
}

/// The whole part of a number that is not negative; saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and the fraction is to be dropped"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

/// As [`whole`], in 32 bits.
fn whole_u32(number: f64) -> u32 {
    u32::try_from(whole(number)).unwrap_or(u32::MAX)
}
