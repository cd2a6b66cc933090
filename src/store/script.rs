//! The calls of the script in Redis or Valkey, and its replies; the connections are elsewhere.
//!
//! The server decides a request in one step, by [`DECIDE`] on its own clock. The script only compares and adds. It
//! returns the time and the state of each bucket before the charge. Outcomes are computed from these by the functions
//! that decide in memory, so that both stores give the same ones.

mod reply;
mod request;

use super::Charge;
use super::counter::Counter;
use crate::limit::Bucket;

pub use self::reply::{ObservedState, Released, ScriptReply, State, written_interval};
pub use self::request::{
    KeyNames, LimitTimes, NewLease, ScriptCall, decide, lease_key, lease_partition, lengthen,
    probe, refund, release,
};
pub use super::field::Field;

/// The script, in Lua. It defines three functions with keys and arguments: `decide`, `release` and `lengthen`.
pub const DECIDE: &str = include_str!("script/decide.lua");

/// [`DECIDE`] as it is sent: without comments and indentation. Redis reads at most 16 KiB of a client that has not logged
/// in, and would close the connection without saying that a login is needed.
pub fn decide_without_comments() -> String {
    let lines = DECIDE.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    code.flat_map(|line| [line, "\n"]).collect()
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Whether a charge takes slots if it is admitted.
pub fn takes_slots(charge: &Charge<'_>) -> bool {
    is_concurrency(charge) && charge.hits.charged() > 0
}

/// Whether a bucket has a key. A blocked one has none, since it has no state.
pub const fn has_key(charge: &Charge<'_>) -> bool {
    !matches!(charge.bucket, Bucket::Blocked(_))
}

const fn is_counter(charge: &Charge<'_>) -> bool {
    Counter::of(charge.bucket).is_some()
}

const fn is_concurrency(charge: &Charge<'_>) -> bool {
    matches!(charge.bucket, Bucket::Concurrency(_))
}
