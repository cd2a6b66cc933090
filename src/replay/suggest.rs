//! Suggests limits: for each bucket the smallest ones, in round numbers, with which a part of the keys would never have been
//! denied.
//!
//! The size that a key needs at a rate is its largest backlog: what a bucket owes that is charged for every request, after
//! each max(0, backlog - time x rate) + hits. The first pass (`needs`) finds it for each key at some rates around that of the
//! policy, its ladder. The size that a part of the keys needs is a quantile of theirs.
//!
//! The faster the rate, the smaller the size. So of the rates with the shape of the policy (size / rate), one of the ladder is
//! the first that is enough, and the smallest lies between it and the one before. The second pass (`again`) tries the round
//! rates between them, by the code of the server, on those keys alone that need more than the one before: the smallest is the
//! first that denies no more keys than it may. The same pass counts what it denies.
//!
//! Windows need the most hits of a window, and concurrency buckets the most slots at one time. Each bucket is judged alone, as
//! if no other denied a request.

mod again;
mod candidates;
mod draft;
mod keys;
mod ladder;
mod needs;
mod report;
mod round;
mod share;
pub mod terminal;

use super::{Progress, ReplayError};

pub use self::report::{BucketSuggestion, CurvePoint, Suggested, Suggestions};
pub use self::share::{InvalidShare, Share};

pub(super) use self::again::Logs;
use self::draft::Demand;
pub(super) use self::ladder::Ladders;
pub(super) use self::needs::Needs;

/// What the first pass found.
pub(super) struct Found<'p> {
    pub(super) ladders: &'p Ladders,
    pub(super) needs: Needs<'p>,
    /// With the requests of a second spread over it, if a log tells whole seconds.
    pub(super) spread: Option<Needs<'p>>,
}

/// Suggests limits with which this part of the keys would never have been denied. Reads the logs again.
///
/// # Errors
/// Those of the second pass.
pub(super) fn suggest(
    share: Share,
    found: Found<'_>,
    logs: Logs<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Suggestions, ReplayError> {
    let Found { ladders, needs, spread } = &found;
    let mut candidates = Vec::new();
    let spread = spread.as_ref();
    let met = ladders.iter().filter(|(rule, _)| needs.keys(*rule) > 0);
    let max_leases = logs.max_keys;
    let demands =
        met.map(|(rule, ladder)| Demand { rule, ladder, needs, spread, share, max_leases });
    let drafts: Vec<_> = demands.map(|demand| demand.draft(&mut candidates)).collect();
    drop(found);
    let have_logs_changed = logs.decide(&mut candidates, progress)?;
    let buckets = drafts.into_iter().map(|draft| draft.finish(&candidates)).collect();
    Ok(Suggestions { keys_percent: share.percent(), have_logs_changed, buckets })
}
