//! Suggestions to make pages of.

use crate::replay::suggest::{BucketSuggestion, CurvePoint, Suggested, Suggestions};

fn limit(limit: &str, size: u32, denied: u64) -> Suggested {
    Suggested {
        limit: limit.to_owned(),
        size,
        tokens: Some(10),
        period_seconds: Some(1),
        keys_denied: denied.min(2),
        denied,
        is_smallest_tried: false,
        size_if_spread: None,
    }
}

/// As many rates as a ladder has, the slowest first.
fn curve() -> Vec<CurvePoint> {
    let point = |at: u32| CurvePoint {
        rate: format!("{} per second", at + 1),
        tokens: at + 1,
        period_seconds: 1,
        is_present: at == 9,
        size: 100 / (at + 1),
        size_for_all: 4_000 / (at + 1),
        sizes_if_spread: Some([100 / (at + 1), 1 + at % 2]),
    };
    (0..25).map(point).collect()
}

fn bucket(row: &str, limit_now: &str, curve: Vec<CurvePoint>) -> BucketSuggestion {
    BucketSuggestion {
        table: "tenant".to_owned(),
        row: row.to_owned(),
        limit: limit_now.to_owned(),
        is_override: false,
        requests: 10_049,
        keys: 35,
        same_rate: Some(limit("12 at 10 per second", 12, 26)),
        same_shape: None,
        curve,
    }
}

/// A limit with both suggestions, one without any, and one that has no rate.
pub(super) fn suggestions() -> Suggestions {
    let mut both = bucket("free", "10 per second", curve());
    both.same_shape =
        Some(Suggested { is_smallest_tried: true, ..limit("1 per minute", 1, 1_000) });
    both.same_rate.iter_mut().for_each(|of| of.size_if_spread = Some(4));
    let none = BucketSuggestion {
        is_override: true,
        same_rate: None,
        ..bucket("free", "20 per second", curve())
    };
    let mut slots = bucket("slots", "5 concurrent", Vec::new());
    slots.same_rate = Some(limit("6 concurrent", 6, 0));
    Suggestions { keys_percent: 99.9, have_logs_changed: true, buckets: vec![both, none, slots] }
}

/// More than are shown.
pub(super) fn many() -> Suggestions {
    let row = |at: u32| bucket(&format!("suggested-{at}"), "10 per second", curve());
    Suggestions { buckets: (0..300).map(row).collect(), ..suggestions() }
}
