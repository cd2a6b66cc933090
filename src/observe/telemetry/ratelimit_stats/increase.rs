//! By how much the counters of a limit rise for one descriptor.

use crate::decision::{Decided, Verdict};
use crate::limit::{Bucket, Window};
use crate::policy::Plan;

/// By how much each counter of a limit rises, in hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Increase {
    pub(super) total_hits: u64,
    pub(super) within_limit: u64,
    pub(super) near_limit: u64,
    pub(super) over_limit: u64,
    pub(super) shadow_mode: u64,
}

/// The hits from which on a limit is near: all of them up to that number are not.
///
/// # Source
/// envoyproxy/ratelimit multiplies with 32-bit floats and rounds down. A negative ratio has no meaning; it makes every hit
/// near here.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding of the reference is wanted; a cast of a float saturates"
)]
pub(super) const fn near_threshold(window: Window, ratio: f32) -> u64 {
    (window.requests() as f32 * ratio) as u64
}

impl Increase {
    /// For hits that raise the count of a limit of `limit` hits from `before`. `near` is its threshold.
    pub(super) fn of(limit: u64, near: u64, before: u64, hits: u64, is_shadow: bool) -> Self {
        let after = before.saturating_add(hits);
        let total = Self { total_hits: hits, ..Self::default() };
        if after > limit {
            let (over, near) = if before >= limit {
                (hits, 0)
            } else {
                (after - limit, limit.saturating_sub(near.max(before)))
            };
            let shadow_mode = if is_shadow { over } else { 0 };
            return Self { near_limit: near, over_limit: over, shadow_mode, ..total };
        }
        let near_limit = if before >= near { hits } else { after.saturating_sub(near) };
        Self { within_limit: hits, near_limit, ..total }
    }

    /// For a window of a verdict; `None` if the descriptor charges nothing. What is not counted is told of as if it were:
    /// the limit admitted it, or it was over.
    pub(super) fn of_decided(decided: &Decided<'_>, near: u64) -> Option<Self> {
        let matched = decided.matched;
        let Bucket::Window(own) = matched.bucket else { return None };
        let hits = matched.hits.charged();
        if hits == 0 {
            return None;
        }
        let (limit, before) = (own.requests().into(), decided.outcome.before.into());
        Some(Self::of(limit, near, before, hits, matched.row.is_shadow()))
    }
}

/// Whether the limits deny the request, even if the deployment is in shadow.
pub(super) fn is_denied(plan: &Plan<'_>, verdict: &Verdict<'_>) -> bool {
    let is_spent = |of: &Decided<'_>| of.is_over() && !of.matched.row.is_shadow();
    let (mut quotas, mut spent) = (0_usize, 0_usize);
    for decided in &verdict.decided {
        if !decided.matched.row.is_quota() {
            if is_spent(decided) {
                return true;
            }
        } else {
            quotas += 1;
            spent += usize::from(is_spent(decided));
        }
    }
    quotas > 0 && quotas == spent && !plan.has_open_quota
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Unit;

    /// Of a limit of 10, which is near from 8 on: total, within, near and over.
    fn of(before: u64, hits: u64) -> [u64; 4] {
        let found = Increase::of(10, 8, before, hits, false);
        assert_eq!(found.shadow_mode, 0);
        let in_shadow = Increase::of(10, 8, before, hits, true);
        assert_eq!(in_shadow, Increase { shadow_mode: found.over_limit, ..found });
        [found.total_hits, found.within_limit, found.near_limit, found.over_limit]
    }

    #[test]
    fn hits_up_to_the_threshold_are_within_and_not_near() {
        assert_eq!(of(0, 1), [1, 1, 0, 0]);
        assert_eq!(of(7, 1), [1, 1, 0, 0]);
        assert_eq!(of(0, 8), [8, 8, 0, 0]);
    }

    #[test]
    fn hits_beyond_the_threshold_are_within_and_near() {
        assert_eq!(of(8, 1), [1, 1, 1, 0]);
        assert_eq!(of(9, 1), [1, 1, 1, 0]);
        assert_eq!(of(8, 2), [2, 2, 2, 0]);
        assert_eq!(of(7, 2), [2, 2, 1, 0], "only the second is beyond");
        assert_eq!(of(0, 10), [10, 10, 2, 0]);
    }

    #[test]
    fn a_charge_that_crosses_the_limit_is_over_by_what_does_not_fit() {
        assert_eq!(of(9, 2), [2, 0, 1, 1]);
        assert_eq!(of(8, 3), [3, 0, 2, 1]);
        assert_eq!(of(7, 4), [4, 0, 2, 1], "near from the threshold on");
        assert_eq!(of(0, 25), [25, 0, 2, 15]);
    }

    #[test]
    fn all_hits_on_a_spent_limit_are_over() {
        assert_eq!(of(10, 1), [1, 0, 0, 1]);
        assert_eq!(of(10, 5), [5, 0, 0, 5]);
        assert_eq!(of(300, 7), [7, 0, 0, 7]);
        assert_eq!(of(u64::MAX, u64::MAX), [u64::MAX, 0, 0, u64::MAX]);
    }

    #[test]
    fn a_limit_of_nothing_is_over_with_the_first_hit() {
        let found = Increase::of(0, 0, 0, 3, false);
        assert_eq!(found, Increase { total_hits: 3, over_limit: 3, ..Increase::default() });
    }

    #[test]
    fn a_ratio_above_1_makes_nothing_near() {
        let near = near_threshold(Window::new(10, Unit::Minute), 1.5);
        assert_eq!((near, Increase::of(10, near, 5, 10, false).near_limit), (15, 0));
        assert_eq!(Increase::of(10, near, 0, 10, false).near_limit, 0);
    }

    #[test]
    fn the_threshold_is_computed_in_32_bits_and_rounded_down() {
        let of = |requests, ratio| near_threshold(Window::new(requests, Unit::Minute), ratio);
        assert_eq!((of(10, 0.8), of(9, 0.8), of(1, 0.8), of(0, 0.8)), (8, 7, 0, 0));
        // 0.8 is 0.800000011920929 in 32 bits; in 64 bits it were 3,435,973,836.
        assert_eq!(of(u32::MAX, 0.8), 3_435_973_888);
        assert_eq!((of(10, 0.7), of(10, -1.0), of(10, 1.0)), (7, 0, 10));
    }
}
