use super::*;
use crate::limit::Blocked;
use crate::policy::identity::name_for_tests;

/// The beginning of a minute.
const NOW: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

const BLOCKED: Bucket = Bucket::Blocked(Blocked { until: None });

fn label(key: &str) -> BucketLabel {
    BucketLabel {
        domain: "d".into(),
        table: "t".into(),
        row: "all".into(),
        key: [("k".into(), key.as_bytes().into())].into(),
        is_truncated: false,
        is_shadow: false,
    }
}

fn deny(counts: &DenialCounts, key: &str, times: u64, at: Timestamp) {
    let name = name_for_tests(key);
    for _ in 0..times {
        stripe(&counts.enforced, name).lock().add(name, &BLOCKED, minute(at), || label(key));
    }
}

fn after(minutes: u64) -> Timestamp {
    NOW.after(MINUTE.times(minutes))
}

/// The key, the count and its error, of each bucket.
fn told(counts: &DenialCounts, max: usize, now: Timestamp) -> Vec<(String, u64, u64)> {
    let top = counts.top(false, None, max, now);
    let tell =
        |of: DeniedBucket| (of.label.key_text()[0][1].to_string(), of.count, of.at_most_over);
    top.buckets.into_iter().map(tell).collect()
}

#[test]
fn denials_of_five_minutes_are_added_and_older_ones_forgotten() {
    let counts = DenialCounts::default();
    deny(&counts, "a", 3, NOW);
    deny(&counts, "b", 1, after(1));
    deny(&counts, "a", 1, after(4));
    let both = vec![("a".to_owned(), 4, 0), ("b".to_owned(), 1, 0)];
    assert_eq!(told(&counts, 10, after(4)), both);
    assert_eq!(counts.top(false, None, 10, after(4)).others_at_most, 0);
    // The minute of the first three is no longer among the last five; a tie goes by the name in the store.
    let mut last = told(&counts, 10, after(5));
    last.sort();
    assert_eq!(last, [("a".to_owned(), 1, 0), ("b".to_owned(), 1, 0)]);
    assert_eq!(told(&counts, 10, after(9)), []);
    // Its place is taken by another minute.
    deny(&counts, "b", 2, after(10));
    assert_eq!(told(&counts, 10, after(10)), [("b".to_owned(), 2, 0)]);
    // A thread that comes minutes late counts nothing.
    deny(&counts, "a", 1, after(5));
    assert_eq!(told(&counts, 10, after(10)), [("b".to_owned(), 2, 0)]);
}

#[test]
fn the_span_begins_with_the_first_of_five_minutes() {
    assert_eq!(span(NOW), MINUTE.times(4));
    assert_eq!(span(NOW.after(Nanos::from_secs(59))), MINUTE.times(4).plus(Nanos::from_secs(59)));
    assert_eq!(span(Timestamp::default()), Nanos::ZERO);
}

#[test]
fn a_list_tells_how_much_is_left_out() {
    let counts = DenialCounts::default();
    for (key, times) in [("a", 5), ("b", 3), ("c", 2)] {
        deny(&counts, key, times, NOW);
    }
    let top = counts.top(false, None, 1, NOW);
    assert_eq!((top.buckets.len(), top.omitted, top.others_at_most), (1, 2, 3));
    assert_eq!(counts.top(true, None, 1, NOW).buckets.len(), 0, "none is in shadow");
    assert_eq!(counts.top(false, Some("other"), 1, NOW).buckets.len(), 0);
}

/// Whatever the order of the denials: a count is not too low, and too high by its error at most; and a bucket that is
/// not listed was denied no more often than the list says.
#[test]
fn counts_hold_their_bounds_under_more_keys_than_there_is_room_for() {
    let counts = DenialCounts::default();
    let mut exact: HashMap<String, u64> = HashMap::new();
    let mut random = 7_u64;
    let mut at = NOW;
    for step in 0..60_000_u64 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A few keys are denied often, 20,000 seldom.
        let key = match random >> 60 {
            0..4 => format!("often {}", (random >> 40) % 8),
            _ => format!("seldom {}", (random >> 20) % 20_000),
        };
        deny(&counts, &key, 1, at);
        *exact.entry(key).or_default() += 1;
        if step % 15_000 == 14_999 {
            at = at.after(MINUTE);
        }
    }
    let top = counts.top(false, None, usize::MAX, at);
    assert!(top.buckets.len() <= MAX_COUNTED * MINUTES, "{}", top.buckets.len());
    let mut unlisted = exact.clone();
    for of in &top.buckets {
        let key = of.label.key_text()[0][1].to_string();
        let exact = unlisted.remove(&key).unwrap();
        assert!(of.count >= exact && of.count - of.at_most_over <= exact, "{key}: {exact} {of:?}");
    }
    assert!(!unlisted.is_empty() && top.others_at_most > 0);
    assert!(unlisted.values().all(|count| *count <= top.others_at_most), "{}", top.others_at_most);
    let first: Vec<_> = told(&counts, 8, at).into_iter().map(|(key, ..)| key).collect();
    assert!(first.iter().all(|key| key.starts_with("often")), "{first:?}");
    for stripe in counts.enforced.iter() {
        assert!(stripe.lock().0.iter().all(|sketch| sketch.counters.len() <= MAX_PER_SKETCH));
    }
}

#[test]
fn the_label_is_made_once_while_a_bucket_is_counted() {
    let mut ring = Ring::default();
    let name = name_for_tests("a");
    let mut labels = 0;
    for at in [NOW, NOW, after(1), after(2), after(4)] {
        ring.add(name, &BLOCKED, minute(at), || {
            labels += 1;
            label("a")
        });
    }
    assert_eq!(labels, 1);
}
