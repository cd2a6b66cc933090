//! The smallest round limits, against replays with each limit that there is.

use tollgate::policy::Policies;
use tollgate::replay::suggest::Suggested;

use super::{ALLOWED, KEYS, Log, MAPPING, SHARE, random_log};
use crate::replay::{one_row, policies};

/// Two descriptors that match the same bucket.
const TWICE: &str =
    "descriptors:\n- { entries: { k: $k }, hits: { from: $hits } }\n- { entries: { k: $k } }\n";

/// A window of a minute.
fn with_count(count: u64) -> Policies {
    policies(&format!(
        "domain: d\ndescriptors:\n  - key: k\n    rate_limit: {{ unit: minute, requests_per_unit: {count} }}\n"
    ))
}

fn round_numbers() -> Vec<u64> {
    let powers = (0..8).map(|power| 10_u64.pow(power));
    let tens = powers.map(|power| [10, 12, 15, 20, 25, 30, 40, 50, 60, 80].map(|of| of * power));
    [1, 2, 3, 4, 5, 6, 8].into_iter().chain(tens.flatten()).collect()
}

fn round_up(number: u64) -> u64 {
    round_numbers().into_iter().find(|round| *round >= number).unwrap()
}

fn told(suggested: &Suggested) -> (u64, u64, u64) {
    (suggested.size.into(), suggested.keys_denied, suggested.denied)
}

/// The suggested size is that of the first policy that is enough, and denies what that one denies.
#[track_caller]
fn assert_size(log: &Log, present: &Policies, with_size: impl Fn(u64) -> Policies) -> u64 {
    let sizes: Vec<_> = round_numbers().into_iter().filter(|size| *size <= 10_000).collect();
    let tried: Vec<_> = sizes.iter().map(|size| with_size(*size)).collect();
    let (found, keys, denied) = log.first_enough(&tried, ALLOWED).unwrap();
    let [bucket] = &log.suggest(present, SHARE)[..] else { panic!("one bucket") };
    assert_eq!((bucket.keys, bucket.requests), (KEYS, 600));
    assert_eq!(told(bucket.same_rate.as_ref().unwrap()), (sizes[found], keys, denied));
    keys
}

#[test]
fn the_size_at_the_same_rate_is_the_smallest_round_one_that_is_enough() {
    let mut denied = 0;
    for seed in 1..=8 {
        let log = random_log(seed, 1 + seed % 3, 0);
        let with_size = |size| one_row(&format!("{{ size: {size}, per_minute: 12 }}"));
        denied += assert_size(&log, &with_size(7), with_size);
    }
    assert!(denied > 0, "some keys need more");
}

#[test]
fn the_rate_of_the_same_shape_is_the_smallest_round_one_that_is_enough() {
    let mut kinds = [0; 3];
    for (seed, most_hits, size, tokens) in [
        (1, 1, 30, 30),
        (2, 2, 40, 7),
        (3, 3, 1, 25),
        (4, 1, 500, 10),
        (5, 2, 6, 60),
        (6, 1, 100_000, 60),
        (7, 300, 1, 60),
    ] {
        let log = random_log(seed, most_hits, 0);
        // From a thousandth to a hundred times as fast, as tokens in so many seconds.
        let units = [("per_day", 86_400), ("per_hour", 3_600), ("per_minute", 60)];
        let mut rates: Vec<(u64, &str, u64)> = Vec::new();
        for (name, seconds) in units {
            for number in round_numbers() {
                let is_slowest = rates.iter().all(|(other, _, of)| other * seconds > number * of);
                let is_near = number * 60 * 1_000 >= tokens * seconds
                    && number * 60 <= 100 * tokens * seconds;
                // Each unit has the rates below one token of the next.
                let next = match name {
                    "per_day" => 3_600,
                    "per_hour" => 60,
                    _ => 0,
                };
                if is_near && (next == 0 || number * next < seconds) {
                    assert!(!is_slowest || rates.is_empty(), "rates ascend");
                    rates.push((number, name, seconds));
                }
            }
        }
        let tried: Vec<_> = rates
            .iter()
            .map(|(number, name, seconds)| {
                let size = round_up((size * number * 60).div_ceil(tokens * seconds));
                one_row(&format!("{{ size: {size}, {name}: {number} }}"))
            })
            .collect();
        let found = log.first_enough(&tried, ALLOWED);
        let present = one_row(&format!("{{ size: {size}, per_minute: {tokens} }}"));
        let [bucket] = &log.suggest(&present, SHARE)[..] else { panic!("one bucket") };
        let Some((found, keys, denied)) = found else {
            assert_eq!(bucket.same_shape, None, "{size} at {tokens}");
            kinds[0] += 1;
            continue;
        };
        let suggested = bucket.same_shape.as_ref().unwrap();
        let (number, _, seconds) = rates[found];
        let rate = suggested.tokens.zip(suggested.period_seconds).unwrap();
        assert_eq!((u64::from(rate.0), rate.1), (number, seconds), "{size} at {tokens}");
        let size = round_up((size * number * 60).div_ceil(tokens * seconds));
        assert_eq!(told(suggested), (size, keys, denied));
        assert_eq!(suggested.is_smallest_tried, found == 0);
        kinds[if found == 0 { 1 } else { 2 }] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[test]
fn windows_get_the_smallest_round_count() {
    for seed in 1..=4 {
        let log = random_log(seed, 1 + seed % 3, 0);
        assert_size(&log, &with_count(2), with_count);
    }
}

#[test]
fn concurrency_buckets_get_the_smallest_round_number_of_slots() {
    for (seed, ttl) in [(1, "1h"), (2, "1h"), (3, "2s")] {
        let log = random_log(seed, 1 + seed % 2, 20_000);
        let with_slots = |slots: u64| one_row(&format!("{{ concurrent: {slots}, ttl: {ttl} }}"));
        assert_size(&log, &with_slots(2), with_slots);
    }
}

#[test]
fn buckets_that_may_owe_are_asked_for_a_token() {
    let with_size = |size: u64| {
        policies(&format!(
            "domain: d\ntables: [{{ name: t, charge: always, key: [k], rows: {{ all: [{{ size: {size}, per_minute: 60 }}] }} }}]"
        ))
    };
    for seed in 1..=4 {
        let log = random_log(seed, 40, 0);
        assert_size(&log, &with_size(5), with_size);
    }
}

#[test]
fn a_bucket_that_several_descriptors_match_is_charged_once_by_the_most_hits() {
    let log = random_log(5, 3, 0);
    log.logs.write("map.yaml", TWICE);
    let with_size = |size| one_row(&format!("{{ size: {size}, per_minute: 12 }}"));
    assert_size(&log, &with_size(7), with_size);
    assert_size(&log, &with_count(2), with_count);
}

/// The size that keys are told to have needed, too, without suggestions.
#[test]
fn the_needed_size_is_exact_with_several_descriptors_and_any_hits() {
    let with_size = |size| one_row(&format!("{{ size: {size}, per_minute: 12 }}"));
    let owing = |size: u64| {
        policies(&format!(
            "domain: d\ntables: [{{ name: t, charge: always, key: [k], rows: {{ all: [{{ size: {size}, per_minute: 12 }}] }} }}]"
        ))
    };
    let with_slots = |slots| one_row(&format!("{{ concurrent: {slots}, ttl: 1h }}"));
    for seed in 1..=4 {
        let log = random_log(seed, 3, 20_000);
        for mapping in [MAPPING, TWICE] {
            log.logs.write("map.yaml", mapping);
            for with_size in
                [&with_size as &dyn Fn(u64) -> Policies, &owing, &with_count, &with_slots]
            {
                let outcome = |size| log.replay(&with_size(size), None).outcome;
                let needed = outcome(1).rows[0].buckets[0].needed.max.into();
                assert_eq!(outcome(needed).denied, 0, "{needed} are enough: {mapping}");
                assert!(outcome(needed - 1).denied > 0, "{needed} are needed: {mapping}");
            }
        }
    }
}
