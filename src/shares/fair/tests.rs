//! The properties of a fair division, and divisions that are known.

use proptest::prelude::*;

use super::*;

fn claim(buckets: &[usize], wants: f64) -> Claim {
    Claim { buckets: buckets.into(), weight: 1.0, wants }
}

fn rounded(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| (rate * 1e6).round() / 1e6).collect()
}

#[test]
fn who_wants_little_gets_it_and_the_others_share_the_rest() {
    let claims = [claim(&[0], 90.0), claim(&[0], 5.0)];
    assert_eq!(rounded(&divide(&claims, &[50.0])), [45.0, 5.0]);
    let claims = [claim(&[0], 90.0), claim(&[0], 90.0), claim(&[0], 10.0)];
    assert_eq!(rounded(&divide(&claims, &[50.0])), [20.0, 20.0, 10.0]);
}

#[test]
fn what_nobody_wants_goes_to_all_alike() {
    let claims = [claim(&[0], 10.0), claim(&[0], 20.0)];
    assert_eq!(rounded(&divide(&claims, &[50.0])), [20.0, 30.0]);
}

#[test]
fn who_is_only_filled_gets_no_more_than_it_wants() {
    let claims = [claim(&[0], 10.0), claim(&[0], 20.0)];
    assert_eq!(rounded(&fill(&claims, &[50.0])), [10.0, 20.0]);
    let claims = [claim(&[0], 90.0), claim(&[0], 5.0)];
    assert_eq!(rounded(&fill(&claims, &[50.0])), [45.0, 5.0]);
}

#[test]
fn a_smaller_bucket_bounds_those_who_meet_it_and_leaves_the_rest_to_others() {
    // A tenant with 50, of which one group may use 10.
    let claims = [claim(&[0, 1], 40.0), claim(&[0], 100.0)];
    assert_eq!(rounded(&divide(&claims, &[50.0, 10.0])), [10.0, 40.0]);
}

#[test]
fn a_weight_is_as_many_claims() {
    let claims = [Claim { weight: 3.0, ..claim(&[0], 100.0) }, claim(&[0], 100.0)];
    assert_eq!(rounded(&divide(&claims, &[40.0])), [30.0, 10.0]);
}

#[test]
fn nothing_can_be_had_of_a_bucket_that_has_nothing() {
    let claims = [claim(&[0, 1], 5.0), claim(&[1], 5.0)];
    assert_eq!(rounded(&divide(&claims, &[0.0, 8.0])), [0.0, 8.0]);
    assert_eq!(rounded(&divide(&claims, &[-3.0, 8.0])), [0.0, 8.0]);
    assert!(divide(&[], &[1.0]).is_empty());
}

fn capacities() -> impl Strategy<Value = Vec<f64>> {
    let capacity = prop_oneof![4 => 0.0..1_000.0, 1 => Just(0.0), 1 => 1e-6..1e-3, 1 => 1e6..1e9];
    prop::collection::vec(capacity, 1..6)
}

/// Claims on some of six buckets, of which there may be fewer.
fn claims() -> impl Strategy<Value = Vec<(Vec<usize>, f64, f64)>> {
    let buckets = prop::collection::btree_set(0_usize..6, 1..4)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let wants = prop_oneof![3 => 0.0..500.0, 1 => Just(0.0), 1 => Just(f64::INFINITY)];
    let weight = prop_oneof![3 => Just(1.0), 1 => 0.5..20.0];
    prop::collection::vec((buckets, weight, wants), 0..40)
}

fn built(claims: Vec<(Vec<usize>, f64, f64)>, count: usize) -> Vec<Claim> {
    let built = claims.into_iter().map(|(mut buckets, weight, wants)| {
        buckets.iter_mut().for_each(|bucket| *bucket %= count);
        buckets.sort_unstable();
        buckets.dedup();
        Claim { buckets: buckets.into(), weight, wants }
    });
    built.collect()
}

fn used(claims: &[Claim], rates: &[f64], bucket: usize) -> f64 {
    let met = claims.iter().zip(rates).filter(|(claim, _)| claim.buckets.contains(&bucket));
    met.map(|(_, rate)| rate).sum()
}

/// What rounding may make of it.
fn about(capacity: f64) -> f64 {
    1e-6 + capacity * 1e-6
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bucket_is_exceeded_and_nothing_that_somebody_could_have_is_left(
        (claims, capacities) in (claims(), capacities())
    ) {
        let claims = built(claims, capacities.len());
        let rates = divide(&claims, &capacities);
        for (bucket, capacity) in capacities.iter().enumerate() {
            prop_assert!(used(&claims, &rates, bucket) <= capacity + about(*capacity));
        }
        // Each meets a bucket of which nothing is left.
        for (claim, rate) in claims.iter().zip(&rates) {
            prop_assert!(*rate >= 0.0);
            let is_bounded = claim.buckets.iter().any(|bucket| {
                used(&claims, &rates, *bucket) >= capacities[*bucket] - about(capacities[*bucket])
            });
            prop_assert!(is_bounded, "{claim:?} has {rate}");
        }
    }

    #[test]
    fn nobody_can_gain_what_it_wants_without_a_smaller_one_losing(
        (claims, capacities) in (claims(), capacities())
    ) {
        let claims = built(claims, capacities.len());
        let rates = fill(&claims, &capacities);
        for (claim, rate) in claims.iter().zip(&rates) {
            prop_assert!(*rate <= claim.wants + about(*rate));
            if *rate >= claim.wants - about(*rate) {
                continue;
            }
            // Whoever wants more meets a bucket that is used up, in which nobody has more for its weight.
            let level = rate / claim.weight;
            let is_fair = claim.buckets.iter().any(|bucket| {
                let capacity = capacities[*bucket];
                let is_used_up = used(&claims, &rates, *bucket) >= capacity - about(capacity);
                let others = claims.iter().zip(&rates).filter(|(of, _)| of.buckets.contains(bucket));
                let most = others.map(|(of, rate)| rate / of.weight).fold(0.0, f64::max);
                is_used_up && most <= level + about(level.max(capacity))
            });
            prop_assert!(is_fair, "{claim:?} has {rate} of {capacities:?}: {rates:?}");
        }
    }
}
