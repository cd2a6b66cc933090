//! What clients are told that only spend: one process with several of them at a time, and a store that decides, answers and is
//! given back to in any order.

use std::sync::Arc;

use tollgate::clock::{Nanos, Now, Timestamp};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Period, Rate, TokenBucket, Unit, Window};
use tollgate::policy::fingerprint::Fingerprint;
use tollgate::shared::prepaid::{GiveBack, GrantName, GrantRequest, PlanName, Prepaid, Step};
use tollgate::store::script::{ObservedState, State};
use tollgate::store::{BucketState, Charge, Mode, Outcome, Outcomes, Wait, gcra, window};

use crate::random::Random;

const START: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

/// Longer than a schedule, so that what is given back is the schedule's choice.
const PREPAID_TIME: Nanos = Nanos::from_secs(60);

const CLIENTS: u64 = 4;

/// What a schedule may contain.
struct Kind {
    bucket: Bucket,
    hits: u64,
    /// Whether other processes charge the bucket.
    has_others: bool,
    /// Whether grants end before they are spent.
    gives_back: bool,
}

/// A question of this process.
struct Question {
    sent: Timestamp,
    /// The client that waits for it.
    client: Option<u64>,
    what: What,
}

enum What {
    Alone(PlanName),
    Ahead(GrantRequest),
    GiveBack(GiveBack),
}

/// A question that the store has decided.
struct Decided {
    question: Question,
    at: Timestamp,
    /// The state before it, and the outcome.
    before: BucketState,
    outcome: Outcome,
}

/// A client's last answer: when it was asked for, and what was left.
#[derive(Clone, Copy)]
struct Last {
    sent: Timestamp,
    remaining: u32,
}

struct Schedule<'k> {
    kind: &'k Kind,
    random: Random,
    now: Timestamp,
    prepaid: Arc<Prepaid>,
    /// The state in the store.
    state: BucketState,
    /// The state that was seen last.
    seen: BucketState,
    /// Until when a denial is repeated.
    denied_until: Timestamp,
    idle: Vec<u64>,
    last: Vec<Option<Last>>,
    asked: Vec<Question>,
    decided: Vec<Decided>,
    grants: Vec<GrantName>,
    /// What happened, for a failure.
    log: Vec<String>,
}

impl<'k> Schedule<'k> {
    fn new(kind: &'k Kind, seed: u64) -> Self {
        let last = (0..CLIENTS).map(|_| None).collect();
        Self {
            kind,
            random: Random(seed),
            now: START,
            prepaid: Prepaid::new(64),
            state: BucketState::NONE,
            seen: BucketState::NONE,
            denied_until: START,
            idle: (0..CLIENTS).collect(),
            last,
            asked: Vec::new(),
            decided: Vec::new(),
            grants: Vec::new(),
            log: Vec::new(),
        }
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.now = self.now.after(Nanos::new(1 + self.random.number() % 2_000_000));
            match self.random.number() % 16 {
                0..6 if !self.idle.is_empty() => {
                    let client = pick(&mut self.random, &mut self.idle);
                    self.request(client);
                }
                6..10 if !self.asked.is_empty() => {
                    let question = pick(&mut self.random, &mut self.asked);
                    self.decide(question);
                }
                10..14 if !self.decided.is_empty() => {
                    let decided = pick(&mut self.random, &mut self.decided);
                    self.answer(decided);
                }
                14 if self.kind.gives_back && !self.grants.is_empty() => {
                    let grant = pick(&mut self.random, &mut self.grants);
                    self.end(grant);
                }
                15 if self.kind.has_others => {
                    let hits = 1 + self.random.number() % 3;
                    self.state = self.take(self.state, self.now, Hits::charge(hits)).1;
                    self.log.push(format!("others take {hits}"));
                }
                _ => {}
            }
        }
        self.settle();
    }

    /// Once all is answered and given back, a client is told what is left.
    fn settle(mut self) {
        for _ in 0..4 {
            while !self.asked.is_empty() || !self.decided.is_empty() {
                while let Some(question) = self.asked.pop() {
                    self.decide(question);
                }
                while let Some(decided) = self.decided.pop() {
                    self.now = self.now.after(Nanos::new(1));
                    self.answer(decided);
                }
            }
            if !self.kind.gives_back {
                // Those that were denied may be told of more that is given back now.
                self.last.fill(None);
            }
            for grant in std::mem::take(&mut self.grants) {
                self.end(grant);
            }
        }
        self.now = self.now.after(Nanos::from_secs(3));
        let client = self.idle.pop().unwrap();
        self.request(client);
        while let Some(question) = self.asked.pop() {
            self.decide(question);
            while let Some(decided) = self.decided.pop() {
                self.answer(decided);
            }
        }
        let unspent: u64 =
            self.prepaid.unspent_hits(&[fingerprint()].into_iter().collect()).values().sum();
        let (outcome, _) = self.take(self.state, self.now, Hits::PEEK);
        let left = u64::from(outcome.remaining) + unspent;
        let told = self.last[usize::try_from(client).unwrap()].unwrap().remaining;
        assert_eq!(u64::from(told), left, "at last: {:#?}", self.log);
    }

    fn charge(&self) -> Charge<'k> {
        Charge {
            fingerprint: fingerprint(),
            bucket: &self.kind.bucket,
            changes: None,
            hits: Hits::charge(self.kind.hits),
            mode: Mode::Enforced,
            debt: None,
            counting: Counting::AllOrNone,
        }
    }

    /// The outcome of a charge at this time, and the state after it.
    fn take(&self, state: BucketState, at: Timestamp, hits: Hits) -> (Outcome, BucketState) {
        let (outcome, next) = match &self.kind.bucket {
            Bucket::Tokens(tokens) => {
                let (outcome, next) = gcra::decide(tokens, state.moment(), at, hits);
                (outcome, next.map(|next| BucketState::until(next, tokens.compact_interval())))
            }
            Bucket::Window(window) => window::decide(*window, Counting::AllOrNone, state, at, hits),
            other => panic!("{other:?} is not prepaid"),
        };
        (outcome, next.unwrap_or(state))
    }

    /// So many requests' hits.
    fn hits(&self, requests: u64) -> Hits {
        Hits::charge(self.kind.hits * requests)
    }

    fn request(&mut self, client: u64) {
        let (charge, now) = (self.charge(), Now::from(self.now));
        let (denial, _) = self.take(self.seen, self.now, self.hits(1));
        let share = || u64::from(denial.remaining) / 4 / self.kind.hits;
        let mut outcomes = Outcomes::new();
        match self.prepaid.begin(&[charge], PREPAID_TIME, now, share, &mut outcomes) {
            Step::Spent(ahead) => {
                self.tell(client, self.now, outcomes[0]);
                if let Some(ahead) = ahead {
                    self.ask(None, What::Ahead(ahead));
                }
            }
            Step::Ask { plan, .. } if denial.wait != Wait::NONE && self.now < self.denied_until => {
                outcomes.push(denial);
                self.prepaid.denied(plan, &[charge], || now, &outcomes);
                self.tell(client, self.now, denial);
            }
            Step::Ask { ahead: Some(ahead), .. } => self.ask(Some(client), What::Ahead(ahead)),
            Step::Ask { plan, .. } => self.ask(Some(client), What::Alone(plan)),
        }
    }

    fn ask(&mut self, client: Option<u64>, what: What) {
        self.log.push(match &what {
            What::Alone(_) => format!("{client:?} asks"),
            What::Ahead(ahead) => format!("{client:?} asks for {} more", ahead.count()),
            What::GiveBack(back) => format!("{} are given back", back.count()),
        });
        self.asked.push(Question { sent: self.now, client, what });
    }

    fn decide(&mut self, question: Question) {
        let before = self.state;
        let own = u64::from(question.client.is_some());
        let (outcome, next) = match &question.what {
            What::Alone(_) => self.take(before, self.now, self.hits(1)),
            What::Ahead(ahead) => self.take(before, self.now, self.hits(ahead.count() + own)),
            What::GiveBack(back) => {
                let next = match before.count() {
                    Some((end, count)) => {
                        let back = u32::try_from(back.count() * self.kind.hits).unwrap();
                        BucketState::counted(end, count.saturating_sub(back))
                    }
                    None => back.refunds().fold(before, |state, (_, cost, from)| {
                        let cost = cost.minus(self.now.since(from));
                        state.moved(|moment| moment.before(cost))
                    }),
                };
                (self.take(before, self.now, Hits::PEEK).0, next)
            }
        };
        self.state = next;
        self.log.push(format!("the store decides what was asked at {:?}", question.sent));
        self.decided.push(Decided { question, at: self.now, before, outcome });
    }

    fn answer(&mut self, Decided { question, at, before, outcome }: Decided) {
        let Question { sent, client, what } = question;
        let charge = self.charge();
        let answered = Now { steady: self.now, wall: at };
        let mut outcomes = Outcomes::from_iter([outcome]);
        match what {
            What::GiveBack(back) => {
                back.arrived(at);
                self.log.push("what was given back has arrived".into());
            }
            What::Alone(plan) => {
                let is_admitted = outcome.wait == Wait::NONE;
                self.seen = self.take(before, at, self.hits(1)).1;
                if !is_admitted {
                    self.denied_until = self.now.after(Nanos::new(10_000_000));
                }
                self.prepaid.answered(plan, &[charge], is_admitted, sent, answered, &mut outcomes);
                self.tell(client.unwrap(), sent, outcomes[0]);
            }
            What::Ahead(ahead) if outcome.wait == Wait::NONE => {
                let count = ahead.count() + u64::from(client.is_some());
                self.seen = self.take(before, at, self.hits(count)).1;
                let states = [ObservedState { at, state: State::Counter(before) }];
                let is_one_spent = client.is_some();
                let grant = ahead.granted(&states, is_one_spent, sent, answered, &mut outcomes);
                self.grants.push(grant);
                self.log.push(format!("{} are granted", count));
                if let Some(client) = client {
                    self.tell(client, sent, outcomes[0]);
                }
            }
            What::Ahead(ahead) => {
                drop(ahead);
                self.seen = before;
                self.log.push("too little is left to grant more".into());
                if let Some(client) = client {
                    self.request(client);
                }
            }
        }
    }

    fn end(&mut self, grant: GrantName) {
        if let Some(back) = self.prepaid.end(grant) {
            self.ask(None, What::GiveBack(back));
        }
    }

    fn tell(&mut self, client: u64, sent: Timestamp, outcome: Outcome) {
        let Outcome { wait, remaining, .. } = outcome;
        self.log.push(format!("{client} is told {remaining}, {wait:?}"));
        let last = &mut self.last[usize::try_from(client).unwrap()];
        if let Some(last) = last {
            let since = self.now.since(last.sent);
            let refilled = match &self.kind.bucket {
                Bucket::Tokens(tokens) if tokens.interval() < Nanos::from_secs(60) => {
                    since.get().div_ceil(tokens.interval().get())
                }
                _ => 0,
            };
            let most = u64::from(last.remaining) + refilled;
            assert!(u64::from(remaining) <= most, "client {client}: {:#?}", self.log);
        }
        *last = Some(Last { sent, remaining });
        self.idle.push(client);
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint::parse("00000000000000010000000000000007").unwrap()
}

fn pick<T>(random: &mut Random, of: &mut Vec<T>) -> T {
    let count = u64::try_from(of.len()).unwrap();
    of.swap_remove(usize::try_from(random.number() % count).unwrap())
}

fn tokens(size: u32, rate: u32, unit: Unit) -> Bucket {
    let rate = Rate::new(rate, Period::one(unit)).unwrap();
    Bucket::Tokens(TokenBucket::new(size, rate).unwrap())
}

/// Runs many schedules of this kind.
fn run(kind: &Kind) {
    for seed in 1..=1_000 {
        Schedule::new(kind, seed).run(200);
    }
}

#[test]
fn what_is_left_never_increases_for_clients_that_only_spend() {
    let window = Bucket::Window(Window::new(100_000, Unit::Year));
    for (bucket, hits) in [(tokens(10_000, 100, Unit::Day), 1), (window, 1), (window, 3)] {
        for has_others in [false, true] {
            run(&Kind { bucket, hits, has_others, gives_back: true });
        }
    }
}

#[test]
fn what_is_left_increases_by_what_refills_and_no_more() {
    run(&Kind {
        bucket: tokens(400, 400, Unit::Second),
        hits: 1,
        has_others: true,
        gives_back: true,
    });
}

#[test]
fn a_client_that_is_denied_is_not_told_of_more_by_what_was_granted_meanwhile() {
    for size in [30, 60] {
        let bucket = tokens(size, 1, Unit::Day);
        run(&Kind { bucket, hits: 1, has_others: true, gives_back: false });
    }
}
