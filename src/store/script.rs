//! The store that replicas share, as far as it can be told without a connection: what is asked of Redis or Valkey,
//! and what its answers mean.
//!
//! Everything is decided there in one step, by [`DECIDE`] on the server's own clock, which only compares and
//! adds. It returns the time and how each bucket stood; what a client is told is computed from that by the
//! functions that decide in memory, so that the answers are the same.

mod reply;
mod request;
pub(super) mod tokens;

use super::Charge;
use super::counter::Counter;
use crate::limit::Bucket;

pub use self::reply::{Field, ObservedState, Released, ScriptReply, State};
pub use self::request::{
    KeyNames, NewLease, ScriptCall, decide, lease_key, lease_partition, probe, refund, release,
};

/// The script, in Lua. It defines two functions of keys and arguments, `decide` and `release`.
pub const DECIDE: &str = include_str!("script/decide.lua");

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Whether a charge takes slots where it is admitted.
pub fn takes_slots(charge: &Charge<'_>) -> bool {
    is_concurrency(charge) && charge.hits.charged() > 0
}

/// Whether a bucket has a key. One that is blocked has none: how it stands is known without the server.
pub const fn has_key(charge: &Charge<'_>) -> bool {
    !matches!(charge.bucket, Bucket::Blocked(_))
}

const fn is_counter(charge: &Charge<'_>) -> bool {
    Counter::of(charge.bucket).is_some()
}

const fn is_concurrency(charge: &Charge<'_>) -> bool {
    matches!(charge.bucket, Bucket::Concurrency(_))
}
