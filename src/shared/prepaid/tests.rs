use super::plan::MAX_BUCKETS;
use super::*;
use crate::descriptor::Hits;
use crate::limit::{
    Bucket, CompactInterval, Concurrency, Counting, Debt, Period, Rate, TokenBucket, Unit, Window,
};
use crate::store::script::{ObservedState, State};
use crate::store::{BucketState, Mode, Outcome, gcra};

const PREPAID_TIME: Nanos = Nanos::new(100_000_000);

fn at(millis: u64) -> Now {
    Timestamp::from_unix_nanos(1_800_000_000_000_000_000)
        .after(Nanos::new(1_000_000).times(millis))
        .into()
}

fn tokens(size: u32) -> Bucket {
    let rate = Rate::new(1, Period::one(Unit::Day)).unwrap();
    Bucket::Tokens(TokenBucket::new(size, rate).unwrap())
}

fn name(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 16])
}

fn charge(number: u8, bucket: &Bucket) -> Charge<'_> {
    Charge {
        fingerprint: name(number),
        bucket,
        changes: None,
        hits: Hits::ONE,
        mode: Mode::Enforced,
        debt: None,
        counting: Counting::AllOrNone,
    }
}

/// The state of a full bucket in the store.
fn full(at: Now) -> ObservedState {
    ObservedState { at: at.wall, state: State::Counter(BucketState::NONE) }
}

/// Asks at that time, with plenty left. Returns whether one was spent, and the question for more.
fn begin(all: &Arc<Prepaid>, charges: &[Charge<'_>], now: Now) -> (bool, Option<GrantRequest>) {
    match all.begin(charges, PREPAID_TIME, now, || u64::MAX, &mut Outcomes::new()) {
        Step::Spent(ahead) => (true, ahead),
        Step::Ask { ahead, .. } => (false, ahead),
    }
}

/// Asks until more are to be asked for, and has them granted with the last request.
fn grant(all: &Arc<Prepaid>, charges: &[Charge<'_>], now: Now) -> (u64, GrantName) {
    for _ in 0..100 {
        if let (false, Some(ahead)) = begin(all, charges, now) {
            let states: Vec<_> = charges.iter().map(|_| full(now)).collect();
            let count = ahead.count();
            let sent = now.steady;
            return (count, ahead.granted(&states, true, sent, now, &mut Outcomes::new()));
        }
    }
    panic!("it is never in demand");
}

/// The hits of this bucket that are prepaid and not spent.
fn unspent(all: &Prepaid, number: u8) -> u64 {
    all.unspent_hits(&HashSet::from([name(number)])).values().sum()
}

#[test]
fn only_plain_charges_are_prepaid() {
    let bucket = tokens(9);
    let plain = charge(1, &bucket);
    assert!(can_be_prepaid(&[plain]));
    assert!(can_be_prepaid(&[Charge { hits: Hits::charge(3), ..plain }]));
    assert!(can_be_prepaid(&[Charge { mode: Mode::Shadow(0), ..plain }]));
    assert!(!can_be_prepaid(&[]) && !can_be_prepaid(&[plain; MAX_BUCKETS + 1]));
    let slots = Bucket::Concurrency(Concurrency::new(2, Nanos::from_secs(1)).unwrap());
    let window = Bucket::Window(Window::new(2, Unit::Day));
    assert!(can_be_prepaid(&[Charge { counting: Counting::Each, ..charge(2, &window) }]));
    let blocked = Bucket::Blocked(crate::limit::Blocked { until: None });
    for other in [
        Charge { hits: Hits::PEEK, ..plain },
        Charge { hits: Hits::give_back(1), ..plain },
        Charge { mode: Mode::Quota, ..plain },
        Charge { debt: Some(Debt::up_to(1)), ..plain },
        charge(2, &slots),
        Charge { counting: Counting::SpareOthers, ..charge(2, &window) },
        charge(2, &blocked),
    ] {
        assert!(!can_be_prepaid(&[plain, other]), "{other:?}");
    }
}

#[test]
fn a_plan_in_demand_spends_what_was_granted_and_no_more() {
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &bucket)];
    let (count, _) = grant(&all, &charges, at(0));
    assert_eq!(count, 2, "half of the four requests so far");
    assert_eq!(unspent(&all, 1), 2);
    let mut asked = None;
    for rest in [1, 0] {
        let (is_spent, ahead) = begin(&all, &charges, at(1));
        assert!(is_spent);
        assert_eq!(unspent(&all, 1), rest);
        asked = asked.or(ahead);
    }
    let asked = asked.expect("more are asked for before they are spent");
    let (is_spent, another) = begin(&all, &charges, at(1));
    assert!(!is_spent && another.is_none(), "one question at a time");
    drop(asked);
    assert!(begin(&all, &charges, at(1)).1.is_some(), "a question that failed is asked again");
}

#[test]
fn what_a_request_is_told_goes_down_by_its_own_charges_alone() {
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &bucket)];
    let (plan, mut told) = (PlanName::of(&charges), Outcomes::new());
    grant(&all, &charges, at(0));
    for left in [998, 997] {
        let step = all.begin(&charges, PREPAID_TIME, at(1), || 0, &mut told);
        assert!(matches!(step, Step::Spent(None)));
        assert_eq!(told[0].remaining, left);
    }
    let mut ask = |now: Now, remaining, used| {
        told[0] = Outcome { remaining, reset: Nanos::from_secs(86_400).times(used), ..told[0] };
        all.answered(plan, &charges, true, now.steady, now, &mut told);
        told[0].remaining
    };
    // The store has charged 1 + 2, and now another.
    assert_eq!(ask(at(2), 996, 4), 996, "none is unspent");
    let (count, next) = grant_of(&all, &charges, at(3), 4);
    let (left, of_grant) = (990, u32::try_from(count).unwrap());
    assert_eq!(ask(at(5), left, 10), left + of_grant);
    let from_before = Now { steady: at(5).steady, wall: at(4).wall };
    assert_eq!(ask(from_before, 995, 5), left + of_grant, "an answer from before the last one");
    // While they are given back, an answer may have them or not.
    let back = all.end(next).unwrap();
    assert_eq!((unspent(&all, 1), back.count()), (0, count));
    assert_eq!(ask(at(6), left + of_grant - 1, 11 - count), left + of_grant, "it may have not");
    assert_eq!(ask(at(7), left - 2, 12), left + of_grant - 2, "it has not");
    back.arrived(at(8).wall);
    drop(back);
    assert_eq!(ask(at(9), left + of_grant - 3, 13 - count), left + of_grant - 3);
}

#[test]
fn an_answer_that_shows_more_or_less_to_be_left_is_told() {
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &bucket)];
    let plan = PlanName::of(&charges);
    let (count, _) = grant(&all, &charges, at(0));
    let ask = |now: Now, remaining: u32| {
        let reset = Nanos::from_secs(86_400).times(u64::from(1_000 - remaining));
        let mut told = Outcomes::new();
        told.push(Outcome { wait: Wait::NONE, remaining, uncharged: 0, before: 0, reset });
        all.answered(plan, &charges, true, now.steady, now, &mut told);
        told[0].remaining
    };
    let unspent = u32::try_from(count).unwrap();
    assert_eq!(ask(at(1), 500), 500 + unspent, "others have charged it");
    assert_eq!(ask(at(2), 990), 990 + unspent, "it was reset");
    // A question in the background may have charged what it asks for, or not.
    let ahead = grant_in_background(&all, &charges, at(3));
    assert_eq!(ask(at(4), 500), 500 + u32::try_from(ahead.count()).unwrap());
    drop(ahead);
    assert_eq!(ask(at(5), 400), 400);
}

/// Spends what there is, and returns the question for more.
fn grant_in_background(all: &Arc<Prepaid>, charges: &[Charge<'_>], now: Now) -> GrantRequest {
    let mut asked = None;
    while unspent(all, 1) > 0 {
        let (is_spent, ahead) = begin(all, charges, now);
        assert!(is_spent);
        asked = asked.or(ahead);
    }
    asked.expect("more are asked for before all are spent")
}

/// As [`grant`], in a bucket of which `used` were used.
fn grant_of(all: &Arc<Prepaid>, charges: &[Charge<'_>], now: Now, used: u64) -> (u64, GrantName) {
    loop {
        if let (false, Some(ahead)) = begin(all, charges, now) {
            let full_at = now.wall.after(Nanos::from_secs(86_400).times(used));
            let state = State::Counter(BucketState::until(full_at, CompactInterval::UNKNOWN));
            let states = [ObservedState { at: now.wall, state }];
            let count = ahead.count();
            return (count, ahead.granted(&states, true, now.steady, now, &mut Outcomes::new()));
        }
    }
}

#[test]
fn what_is_given_back_is_what_was_not_spent_and_has_not_refilled() {
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &bucket)];
    let (count, granted) = grant(&all, &charges, at(0));
    assert_eq!(granted.until(), at(100).steady);
    assert!(begin(&all, &charges, at(99)).0, "its time is not over");
    assert!(!begin(&all, &charges, at(100)).0, "it is");
    let back = all.end(granted).expect("one is left");
    assert_eq!((count, back.count()), (2, 1));
    let day = Nanos::from_secs(86_400);
    // It was charged after that of the request that asked, and of the one that was spent.
    let from = at(0).wall.after(day.times(2));
    assert_eq!(back.refunds().collect::<Vec<_>>(), [(name(1), day, from)]);
    assert!(all.end(granted).is_none(), "once");
}

#[test]
fn all_grants_of_plans_with_one_of_several_buckets_end_at_once() {
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let [a, b, c] = [1, 2, 3].map(|number| charge(number, &bucket));
    let count: u64 =
        [&[a][..], &[b, c], &[c]].into_iter().map(|plan| grant(&all, plan, at(0)).0).sum();
    assert_eq!(count, 6, "two of each plan");
    assert!(all.end_all_of(&HashSet::new()).is_empty());
    let ended = all.end_all_of(&HashSet::from([name(1), name(2), name(9)]));
    let mut named: Vec<_> = ended
        .iter()
        .map(|back| {
            (back.charges().map(|charge| charge.fingerprint).collect::<Vec<_>>(), back.count())
        })
        .collect();
    named.sort_unstable();
    assert_eq!(named, [(vec![name(1)], 2), (vec![name(2), name(3)], 2)]);
    assert_eq!(
        [1, 2, 3].map(|number| unspent(&all, number)),
        [0, 0, 2],
        "the last plan has its own"
    );
    assert!(!begin(&all, &[b, c], at(1)).0 && begin(&all, &[c], at(1)).0);
}

#[test]
fn other_limits_and_other_hits_are_not_admitted_by_what_was_prepaid() {
    let (all, bucket, other) = (Prepaid::new(64), tokens(1_000), tokens(5));
    let charges = [charge(1, &bucket)];
    let (_, granted) = grant(&all, &charges, at(0));
    assert!(!begin(&all, &[charge(1, &other)], at(1)).0, "a limit that was lowered");
    assert!(!begin(&all, &[Charge { hits: Hits::charge(2), ..charges[0] }], at(1)).0);
    assert!(!begin(&all, &[charges[0], charge(2, &bucket)], at(1)).0, "another plan");
    assert!(begin(&all, &charges, at(1)).0);
    // Once nothing is left under the old limit, the plan has the new one.
    all.end(granted);
    let (count, _) = grant(&all, &[charge(1, &other)], at(2));
    assert!(count > 0 && begin(&all, &[charge(1, &other)], at(2)).0);
}

#[test]
fn a_grant_is_no_more_than_the_share_of_what_is_left() {
    let replicas = |count| NonZeroU32::new(count).unwrap();
    assert_eq!([share_of(100, replicas(1)), share_of(100, replicas(5))], [25, 5]);
    assert_eq!(share_of(100, replicas(100)), 0);
    let (all, bucket) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &bucket)];
    // The most that one of twenty more requests at the same time would ask for.
    let most = |left| {
        let ask = |_| match all.begin(&charges, PREPAID_TIME, at(0), || left, &mut Outcomes::new())
        {
            Step::Ask { ahead, .. } | Step::Spent(ahead) => ahead.map(|ahead| ahead.count()),
        };
        (0..20).filter_map(ask).max()
    };
    assert_eq!([most(1), most(3), most(500)], [None, Some(3), Some(30)]);
}

#[test]
fn plans_that_are_idle_are_forgotten_and_too_many_are_asked_for_call_by_call() {
    let (all, bucket) = (Prepaid::new(STRIPES), tokens(1_000));
    let plans = || all.stripes.iter().map(|stripe| stripe.lock().plans.len()).sum::<usize>();
    let ask = |number: u8| begin(&all, &[charge(number, &bucket)], at(0));
    (0..=u8::MAX).for_each(|number| assert!(!ask(number).0));
    assert_eq!(plans(), STRIPES, "one for each stripe");
    (0..STRIPES).for_each(|_| all.sweep(at(1_999).steady));
    assert_eq!(plans(), STRIPES);
    (0..STRIPES).for_each(|_| all.sweep(at(2_000).steady));
    assert_eq!(plans(), 0);
}

#[test]
fn buckets_in_another_order_or_number_and_other_hits_are_another_plan() {
    let bucket = tokens(9);
    let [a, b] = [1, 2].map(|number| charge(number, &bucket));
    let more = Charge { hits: Hits::charge(2), ..a };
    let names = [&[a][..], &[b], &[a, b], &[b, a], &[a, a], &[more]].map(PlanName::of);
    for (at, one) in names.iter().enumerate() {
        assert!(names.iter().skip(at + 1).all(|other| other != one));
    }
}

#[test]
fn an_undo_leaves_a_bucket_no_fuller_than_if_only_the_spent_had_been_charged() {
    let Bucket::Tokens(bucket) = tokens(1_000) else { panic!() };
    let (all, whole) = (Prepaid::new(64), tokens(1_000));
    let charges = [charge(1, &whole)];
    let (_, granted) = grant(&all, &charges, at(0));
    let back = all.end(granted).unwrap();
    let spent_alone = gcra::take(&bucket, at(0).wall, at(0).wall, 1).1.unwrap();
    let together = gcra::take(&bucket, at(0).wall, at(0).wall, 3).1.unwrap();
    let (_, cost, from) = back.refunds().next().unwrap();
    assert_eq!(together.before(cost), spent_alone);
    assert_eq!(from, spent_alone);
}

#[test]
fn admissions_of_a_window_end_with_it_and_are_told_by_its_count() {
    let (all, bucket) = (Prepaid::new(64), Bucket::Window(Window::new(100, Unit::Minute)));
    let charges = [Charge { counting: Counting::Each, ..charge(1, &bucket) }];
    // The minute ends at 60 s.
    let (count, granted) = grant(&all, &charges, at(59_950));
    assert_eq!((count, granted.until()), (2, at(60_000).steady));
    let mut told = Outcomes::new();
    let step = all.begin(&charges, PREPAID_TIME, at(59_990), || 0, &mut told);
    assert!(matches!(step, Step::Spent(_)));
    let Outcome { wait, before, remaining, reset, .. } = told[0];
    assert_eq!((wait, before, remaining), (Wait::NONE, 1, 98), "the second of 100");
    assert_eq!(reset, Nanos::new(10_000_000));
    assert!(!begin(&all, &charges, at(60_000)).0, "another minute");
    let back = all.end(granted).unwrap();
    let charged: Vec<_> = back.charges().map(|charge| (charge.hits, charge.counting)).collect();
    assert_eq!(charged, [(Hits::ONE, Counting::AllOrNone)]);
}
