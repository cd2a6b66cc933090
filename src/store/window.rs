//! A fixed window: its count, and what a charge makes of it.
//!
//! The state is the end of the window in which the hits were counted, and their count. A count of another window than
//! that of now means the same as none. A limit that changes keeps the count; a window of another unit is another bucket.

use smallvec::SmallVec;

use super::field::Field;
use super::tokens::Operation;
use super::{BucketState, Charge, Outcome, Outcomes, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Bucket, Counting, Window};
use crate::policy::fingerprint::Fingerprint;

/// The most hits that a charge sends to the script, so that its sums are exact. No window admits more.
const MAX_HITS: u64 = 1 << 33;

/// Counts, gives back or looks: the outcome at `now` by the wall clock, and the next state if it changes.
///
/// The window is over its limit if the count exceeds it with the hits of the charge, whatever they are: a charge of no hits
/// finds a window over only if it was beyond its limit before.
#[inline(never)] // The decisions of other buckets take less without it.
pub fn decide(
    window: Window,
    counting: Counting,
    state: BucketState,
    now: Timestamp,
    hits: Hits,
) -> (Outcome, Option<BucketState>) {
    let end = window.end(now);
    let before = count(state, end);
    let after = sum(before, hits);
    let is_over = is_over(window, after, hits);
    let is_counted = hits != Hits::PEEK && !(is_over && counting == Counting::AllOrNone);
    let told = if is_counted || !is_over { after } else { u64::from(before) };
    let reset = end.since(now);
    let wait = if is_over { Wait::of(reset) } else { Wait::NONE };
    let outcome = Outcome { wait, remaining: remaining(window, told), uncharged: 0, before, reset };
    let next = is_counted.then(|| BucketState::counted(end, saturated(after)));
    (outcome, next)
}

/// The outcome of a charge of these hits that has changed the count from `before` to `after`, in a window that ends after
/// `reset`.
pub fn counted(window: Window, [before, after]: [u64; 2], hits: Hits, reset: Nanos) -> Outcome {
    let wait = if is_over(window, after, hits) { Wait::of(reset) } else { Wait::NONE };
    let before = saturated(before);
    Outcome { wait, remaining: remaining(window, after), uncharged: 0, before, reset }
}

/// The outcome of a charge of these hits whose count is `state`, at `now` by the wall clock.
pub(super) fn charged(window: Window, state: BucketState, hits: Hits, now: Timestamp) -> Outcome {
    let end = window.end(now);
    let after = u64::from(count(state, end));
    counted(window, [after.saturating_sub(hits.charged()), after], hits, end.since(now))
}

fn is_over(window: Window, after: u64, hits: Hits) -> bool {
    hits.given_back() == 0 && after > u64::from(window.requests())
}

/// Charges the windows of a settled request in order, where each charge was judged alone, on the count before the request:
/// of several charges of one window, each is told the count with those before it. `set` gets the number of a charge and
/// the count after it.
///
/// # Source
/// envoyproxy/ratelimit, with `STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT`, reads all counts before it charges any.
#[cold] // Few deployments spare others.
pub(super) fn charge_in_order(
    charges: &[Charge<'_>],
    outcomes: &mut Outcomes,
    mut set: impl FnMut(usize, u32),
) {
    let is_any_over = outcomes.iter().any(|outcome| outcome.wait != Wait::NONE);
    // Searched one by one: there are at most as many as descriptors.
    let mut counts: SmallVec<[(Fingerprint, u32); 8]> = SmallVec::new();
    for (at, (charge, outcome)) in charges.iter().zip(outcomes).enumerate() {
        let Bucket::Window(window) = charge.bucket else { continue };
        let is_charged = !is_any_over || outcome.wait != Wait::NONE || charge.is_always_made();
        let hits = if is_charged { charge.hits } else { Hits::PEEK };
        let known = counts.iter_mut().find(|(name, _)| *name == charge.fingerprint);
        let before = known.as_ref().map_or(outcome.before, |(_, count)| *count);
        let after = sum(before, hits);
        *outcome = counted(*window, [before.into(), after], charge.hits, outcome.reset);
        let after = saturated(after);
        match known {
            Some((_, count)) => *count = after,
            None => counts.push((charge.fingerprint, after)),
        }
        set(at, after);
    }
}

/// A count with these hits.
pub fn sum(count: u32, hits: Hits) -> u64 {
    u64::from(count).saturating_add(hits.charged()).saturating_sub(hits.given_back())
}

/// The state of a window that told this outcome of a charge of these hits at `at` by the wall clock.
pub(super) fn observed(
    window: Window,
    counting: Counting,
    hits: Hits,
    outcome: &Outcome,
    at: Timestamp,
) -> BucketState {
    let within = window.requests().saturating_sub(outcome.remaining);
    let is_beyond = outcome.wait != Wait::NONE && counting != Counting::AllOrNone;
    let count = match outcome.remaining {
        0 if is_beyond => saturated(sum(outcome.before, hits)),
        // Hits that were given back may have left it beyond its limit; by how many is not told.
        0 => within.max(outcome.before),
        _ => within,
    };
    BucketState::counted(at.after(outcome.reset), count)
}

/// How many hits a window with this count still admits.
fn remaining(window: Window, count: u64) -> u32 {
    saturated(u64::from(window.requests()).saturating_sub(count))
}

fn count(state: BucketState, end: Timestamp) -> u32 {
    state.count().filter(|(of, _)| *of == end).map_or(0, |(_, count)| count)
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The state of `part`, one of the parts of `whole`, where that has `state`: the same share of its hits is counted.
pub fn part_of(part: Window, whole: Window, state: BucketState) -> BucketState {
    let Some((end, count)) = state.count() else { return BucketState::NONE };
    let share = u64::from(count) * u64::from(part.requests());
    let share = share.checked_div(u64::from(whole.requests())).unwrap_or(u64::from(count));
    BucketState::counted(end, saturated(share))
}

/// The operation of the script for these hits. `is_denied` says that the request is denied whatever its windows say.
pub(super) fn operation(
    window: Window,
    counting: Counting,
    hits: Hits,
    is_denied: bool,
) -> Operation {
    let is_spared = is_denied && counting != Counting::Each;
    let letter = match (hits.charged(), hits.given_back(), counting) {
        (0, 0, _) => "p",
        _ if is_spared => "p",
        (_, 1.., Counting::AllOrNone) => "d",
        (_, 1.., _) => "b",
        (_, _, Counting::Each) => "w",
        (_, _, Counting::SpareOthers) => "s",
        (_, _, Counting::AllOrNone) => "o",
    };
    let hits = hits.charged().max(hits.given_back()).min(MAX_HITS);
    let length = Nanos::from_secs(u64::from(window.unit().seconds()));
    let limit = u64::from(window.requests());
    Operation { letter, spans: [hits, length.get()], interval: limit, longest: None }
}

/// The operation that takes these hits out of the count again, if they were counted in the window of `at`; `None` if they
/// were not, or if they stay whatever happens to the request. It changes nothing once that window is over.
pub(super) fn refund(
    window: Window,
    counting: Counting,
    state: BucketState,
    at: Timestamp,
    hits: Hits,
) -> Option<Operation> {
    if counting == Counting::Each || hits.charged() == 0 {
        return None;
    }
    let (_, next) = decide(window, counting, state, at, hits);
    let (ends, _) = next?.count()?;
    let taken_back = operation(window, counting, Hits::give_back(hits.charged()), false);
    Some(Operation { letter: "t", interval: ends.as_unix_secs_ceil(), ..taken_back })
}

/// The state, from a field of the script's reply: the letter `w`, the second at which the window ends, and the count.
pub(super) fn read(field: Field<'_>) -> BucketState {
    let Field::Text(text) = field else { return BucketState::NONE };
    let text = std::str::from_utf8(text).unwrap_or_default();
    let numbers = text.strip_prefix('w').and_then(|numbers| numbers.split_once(' '));
    let state = numbers.and_then(|(end, count)| {
        let end = Timestamp::default().after(Nanos::from_secs(end.parse().ok()?));
        Some(BucketState::counted(end, count.parse().ok()?))
    });
    state.unwrap_or(BucketState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Unit;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_012_900_000_000);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(1_800_000_000_000_000_000).after(Nanos::from_secs(seconds))
    }

    /// What each charge of a list tells, all at the same time: whether it is over, what is left, and the count after it.
    fn counted_hits(window: Window, charges: &[Hits]) -> Vec<(bool, u32, u32)> {
        counted_as(Counting::Each, window, charges)
    }

    fn counted_as(counting: Counting, window: Window, charges: &[Hits]) -> Vec<(bool, u32, u32)> {
        let mut state = BucketState::NONE;
        let charge = |hits: &Hits| {
            let (outcome, next) = decide(window, counting, state, NOW, *hits);
            let count = |state: BucketState| state.count().map_or(0, |(_, count)| count);
            assert_eq!(outcome.before, count(state));
            state = next.unwrap_or(state);
            assert_eq!(observed(window, counting, *hits, &outcome, NOW), as_counted(state));
            assert_eq!(outcome.reset.as_secs_ceil(), 48, "seconds left of the minute");
            (outcome.wait != Wait::NONE, outcome.remaining, count(state))
        };
        charges.iter().map(charge).collect()
    }

    /// The state, or that of nothing counted where there is none.
    fn as_counted(state: BucketState) -> BucketState {
        let end = Window::new(0, Unit::Minute).end(NOW);
        BucketState::counted(end, count(state, end))
    }

    fn hits(counts: &[u64]) -> Vec<Hits> {
        counts.iter().map(|count| Hits::charge(*count)).collect()
    }

    #[test]
    fn hits_are_counted_also_beyond_the_limit() {
        let window = Window::new(2, Unit::Minute);
        let told = counted_hits(window, &hits(&[5, 1, 0]));
        assert_eq!(told, [(true, 0, 5), (true, 0, 6), (true, 0, 6)]);
        let told = counted_hits(window, &hits(&[1, 1, 0, 1]));
        assert_eq!(told, [(false, 1, 1), (false, 0, 2), (false, 0, 2), (true, 0, 3)]);
    }

    #[test]
    fn a_limit_of_nothing_denies_every_hit_and_lets_a_look_pass() {
        let window = Window::new(0, Unit::Minute);
        assert_eq!(counted_hits(window, &hits(&[0, 1])), [(false, 0, 0), (true, 0, 1)]);
    }

    #[test]
    fn a_window_that_counts_all_or_none_counts_nothing_beyond_its_limit() {
        let window = Window::new(2, Unit::Minute);
        let told = counted_as(Counting::AllOrNone, window, &hits(&[5, 1, 1, 1]));
        assert_eq!(told, [(true, 2, 0), (false, 1, 1), (false, 0, 2), (true, 0, 2)]);
    }

    #[test]
    fn hits_are_given_back_down_to_none_and_counts_do_not_overflow() {
        let window = Window::new(u32::MAX, Unit::Minute);
        let huge = Hits::charge(u64::MAX);
        let charges = [Hits::charge(3), Hits::give_back(5), huge, Hits::ONE];
        assert_eq!(
            counted_hits(window, &charges),
            [
                (false, u32::MAX - 3, 3),
                (false, u32::MAX, 0),
                (true, 0, u32::MAX),
                (true, 0, u32::MAX)
            ]
        );
    }

    #[test]
    fn the_next_window_begins_with_nothing_and_a_changed_limit_keeps_the_count() {
        let (window, raised) = (Window::new(2, Unit::Minute), Window::new(5, Unit::Minute));
        let (_, state) =
            decide(window, Counting::Each, BucketState::NONE, at(119), Hits::charge(3));
        let state = state.unwrap();
        let (outcome, _) = decide(raised, Counting::Each, state, at(119), Hits::ONE);
        assert_eq!((outcome.wait, outcome.remaining), (Wait::NONE, 1));
        let (outcome, _) = decide(raised, Counting::Each, state, at(120), Hits::ONE);
        assert_eq!((outcome.remaining, outcome.reset), (4, Nanos::from_secs(60)));
    }

    #[test]
    fn a_part_of_a_window_has_the_same_share_of_the_count() {
        let (part, whole) = (Window::new(3, Unit::Minute), Window::new(9, Unit::Minute));
        let state = BucketState::counted(at(60), 6);
        assert_eq!(part_of(part, whole, state), BucketState::counted(at(60), 2));
        assert_eq!(part_of(part, whole, BucketState::NONE), BucketState::NONE);
    }
}
