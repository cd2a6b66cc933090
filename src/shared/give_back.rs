//! Gives back admissions that were charged ahead and are not spent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use tokio::task::JoinSet;

use super::connection::{Function, fields};
use super::prepaid::{GiveBack, PlannedCharge};
use super::{Store, StoreClient};
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Charge;
use crate::store::script::{self, ObservedState, ScriptReply};

/// The most buckets in one question that gives back.
const MAX_BUCKETS: usize = 64;

/// How many such questions wait for their answers at a time. They do not keep those of requests waiting for long.
const MAX_QUESTIONS: usize = 16;

/// A question that charges ahead or gives back, until its answer is there.
pub(super) struct UnderWay(Arc<Store>);

impl UnderWay {
    pub(super) fn begin(store: &Arc<Store>) -> Self {
        store.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(store))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

impl Store {
    /// Has no more admissions charged ahead, since this process ends.
    pub fn stop_prepaying(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }
}

impl StoreClient {
    /// The hits that this replica has prepaid of these buckets and not spent, without the buckets of which there are none.
    pub fn unspent_hits(&self, buckets: &HashSet<Fingerprint>) -> HashMap<Fingerprint, u64> {
        self.store.prepaid.unspent_hits(buckets)
    }

    /// Gives back what this replica has prepaid of these buckets and not spent.
    pub async fn give_back_prepaid(self: &Arc<Self>, buckets: &HashSet<Fingerprint>) {
        self.give_back_all(self.store.prepaid.end_all_of(buckets)).await;
    }

    /// Gives back all that this replica has prepaid and not spent. It waits for the questions of all threads that charge
    /// ahead or give back, each of which ends with the store's timeout.
    pub async fn give_back_all_prepaid(self: &Arc<Self>) {
        // Fails only without a sender, which the store owns.
        let _ = self.store.under_way.subscribe().wait_for(|count| *count == 0).await;
        self.give_back_all(self.store.prepaid.end_all()).await;
    }

    /// Gives back all of these, with as few questions as they need, several at a time.
    async fn give_back_all(self: &Arc<Self>, backs: Vec<GiveBack>) {
        let partitions = |back: &GiveBack| {
            let charges: SmallVec<[Charge<'_>; 8]> = back.charges().collect();
            self.partitions(&charges)
        };
        let mut asking = JoinSet::new();
        for of_question in questions(backs, partitions) {
            if asking.len() >= MAX_QUESTIONS {
                asking.join_next().await;
            }
            let client = Arc::clone(self);
            asking.spawn(async move { client.give_back(&of_question).await });
        }
        while asking.join_next().await.is_some() {}
    }

    /// Gives these back with one question, or one for each partition. No bucket may be twice among them.
    pub(super) async fn give_back(&self, backs: &[GiveBack]) {
        let charges: SmallVec<[Charge<'_>; 8]> = backs.iter().flat_map(GiveBack::charges).collect();
        let states: SmallVec<[ObservedState; 8]> =
            backs.iter().flat_map(GiveBack::states).collect();
        let partitions = self.partitions(&charges);
        let all = [0];
        let mut is_given_back = true;
        let mut given_back_at = Timestamp::default();
        for partition in if partitions.is_empty() { &all } else { &*partitions } {
            let is_in = |charge: &Charge<'_>| {
                partitions.is_empty() || charge.fingerprint.partition() == *partition
            };
            let of_it = charges.iter().zip(&states).filter(|(charge, _)| is_in(charge));
            let (charges, states): (Vec<_>, Vec<_>) = of_it.unzip();
            let now = self.store.now();
            let reply = ScriptReply { now, is_denied: Some(false), states };
            if let Some(call) = script::refund(&self.store.names, &charges, &reply, None) {
                let answer = self.call(Function::Decide, &call, self.deadline()).await;
                let reply = answer.and_then(|answer| ScriptReply::read(&fields(&answer)?, &[]));
                is_given_back &= reply.is_ok();
                given_back_at = given_back_at.max(reply.map_or(given_back_at, |reply| reply.now));
            }
        }
        let counters = &self.store.telemetry.shared_store().prepaid;
        let counter = if is_given_back { &counters.given_back } else { &counters.lost };
        counter.inc_by(backs.iter().map(GiveBack::count).sum());
        if is_given_back {
            for back in backs {
                back.arrived(given_back_at);
                self.forget_charges(back);
            }
        }
    }

    /// Takes what was given back out of the states that the store reported last: else this replica would deny by them.
    fn forget_charges(&self, back: &GiveBack) {
        let (now, observed) = (self.store.read(), &self.store.observed);
        for charge in back.plan() {
            if let Some(state) = observed.state(charge.fingerprint(), now)
                && let Some(state) = charge.without(state, back.count())
            {
                observed.set_state(charge.fingerprint(), state, now);
            }
        }
    }
}

/// What each question gives back: of the same partitions, and no bucket twice, since the script reads the states of all
/// buckets before it writes one.
fn questions(
    backs: Vec<GiveBack>,
    partitions: impl Fn(&GiveBack) -> SmallVec<[u16; 4]>,
) -> Vec<Vec<GiveBack>> {
    // In which round a bucket is free: a plan has several grants, and a bucket may be of several plans.
    let mut rounds: HashMap<Fingerprint, usize> = HashMap::new();
    let in_round = |back: GiveBack| {
        let names = || back.plan().iter().map(PlannedCharge::fingerprint);
        let round = names().filter_map(|name| rounds.get(&name)).max().copied().unwrap_or(0);
        rounds.extend(names().map(|name| (name, round + 1)));
        (Some((partitions(&back), round)), back)
    };
    let mut backs: Vec<_> = backs.into_iter().map(in_round).collect();
    backs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut all: Vec<Vec<GiveBack>> = Vec::new();
    let (mut of_last, mut buckets) = (None, 0);
    for (of_it, back) in backs {
        let fits = of_it == of_last && buckets + back.plan().len() <= MAX_BUCKETS;
        of_last = of_it;
        buckets = back.plan().len() + if fits { buckets } else { 0 };
        match all.last_mut().filter(|_| fits) {
            Some(last) => last.push(back),
            None => all.push(vec![back]),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::prepaid::{Prepaid, Step};
    use super::*;
    use crate::clock::{Nanos, Now, Timestamp};
    use crate::descriptor::Hits;
    use crate::limit::{Bucket, Counting, Unit, Window};
    use crate::store::script::State;
    use crate::store::{BucketState, Mode, Outcomes};

    const PREPAID_TIME: Nanos = Nanos::from_secs(1);

    /// Unspent admissions of a plan with these buckets.
    fn unspent(buckets: &[u8]) -> GiveBack {
        let (all, window) = (Prepaid::new(64), Bucket::Window(Window::new(100, Unit::Day)));
        let now = Now::from(Timestamp::from_unix_nanos(1_800_000_000_000_000_000));
        let of = |number: &u8| Charge {
            fingerprint: Fingerprint::from_bytes([*number; 16]),
            bucket: &window,
            changes: None,
            hits: Hits::ONE,
            mode: Mode::Enforced,
            debt: None,
            counting: Counting::Each,
        };
        let charges: Vec<_> = buckets.iter().map(of).collect();
        let seen = ObservedState { at: now.wall, state: State::Counter(BucketState::NONE) };
        let mut outcomes = Outcomes::new();
        for _ in 0..9 {
            let step = all.begin(&charges, PREPAID_TIME, now, || 9, &mut outcomes);
            if let Step::Ask { ahead: Some(ahead), .. } = step {
                let states = vec![seen; buckets.len()];
                let grant = ahead.granted(&states, false, now.steady, now, &mut outcomes);
                return all.end(grant).unwrap();
            }
        }
        panic!("it is never in demand");
    }

    /// The buckets of each question for these plans, where the numbers in tens are the partitions.
    fn asked(plans: &[&[u8]]) -> Vec<Vec<u8>> {
        let number = |charge: &PlannedCharge| charge.fingerprint().to_bytes()[0];
        let partitions = |back: &GiveBack| -> SmallVec<[u16; 4]> {
            back.plan().iter().map(|charge| u16::from(number(charge) / 10)).collect()
        };
        let backs = plans.iter().map(|plan| unspent(plan)).collect();
        let buckets = |of: &Vec<GiveBack>| of.iter().flat_map(GiveBack::plan).map(number).collect();
        questions(backs, partitions).iter().map(buckets).collect()
    }

    #[test]
    fn one_question_gives_back_many_plans_of_a_partition_and_no_bucket_twice() {
        assert_eq!(asked(&[&[1], &[2], &[3]]), [[1, 2, 3]]);
        assert_eq!(asked(&[&[1], &[1], &[2], &[2], &[1]]), [vec![1, 2], vec![1, 2], vec![1]]);
        assert_eq!(asked(&[&[1], &[1, 2], &[3]]), [vec![1, 3], vec![1, 2]]);
        assert_eq!(asked(&[&[11], &[1], &[12], &[2]]), [[1, 2], [11, 12]]);
        assert!(asked(&[]).is_empty());
    }

    #[test]
    fn a_question_has_no_more_buckets_than_its_bound() {
        let plans: Vec<Vec<u8>> =
            (0..20).map(|plan| (0..4).map(|of| 4 * plan + of).collect()).collect();
        let backs = plans.iter().map(|plan| unspent(plan)).collect();
        let sizes: Vec<_> = questions(backs, |_| SmallVec::new()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [MAX_BUCKETS / 4, 4]);
    }
}
