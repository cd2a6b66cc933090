//! Runs a replay: threads that read logs, one that puts their requests in order, and threads that decide them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use super::batch::{Batch, Event};
use super::log::LineCounts;
use super::merge::Merge;
use super::reading::Reading;
use super::reorder::Ordered;
use super::simulation::{PLANNED, Request};
use super::source::Source;
use super::trial::{Tally, Trial, TrialKeys, Tried};
use super::{Progress, ReplayError};
use crate::clock::{Nanos, Timestamp};
use crate::mapping::Mapping;

const SECOND: Nanos = Nanos::from_secs(1);

/// How many pieces of requests wait for a thread that decides.
const WAITING: usize = 2;

/// What is replayed.
pub(super) struct Job<'p> {
    pub(super) tried: Tried<'p>,
    pub(super) reading: Reading,
    /// How many keys there may be in all.
    pub(super) max_keys: usize,
    /// How many threads decide. More than one is of use only for requests of several parts.
    pub(super) deciders: usize,
}

/// What came of it.
pub(super) struct Ran<'p> {
    pub(super) lines: LineCounts,
    pub(super) at_once: Tally<'p>,
    pub(super) spread: Option<Tally<'p>>,
}

/// Decides the requests of some parts: twice, with two times for those whose time is told in whole seconds.
struct Decider<'p> {
    tried: Tried<'p>,
    /// What made the requests.
    mapping: Arc<Mapping>,
    max_keys: usize,
    at_once: Trial<'p>,
    spread: Option<Trial<'p>>,
    spread_keys: TrialKeys,
    /// Which of so many threads this is.
    number: usize,
    of: usize,
    has_begun: bool,
}

impl<'p> Decider<'p> {
    fn decide(&mut self, ordered: &Ordered) -> Result<(), ReplayError> {
        if !self.has_begun && ordered.iter().any(|(.., event)| event.is_whole_second) {
            self.spread = Some(Trial::new(self.tried, self.max_keys, &self.spread_keys));
        }
        self.has_begun |= !ordered.is_empty();
        let own = |event: &Event| usize::from(event.part) % self.of == self.number;
        let requests =
            ordered.iter().filter(|(.., event)| own(event)).map(|(batch, number, event)| {
                let now =
                    if event.is_whole_second { whole_second(event.start) } else { event.start };
                (batch, number, event, now)
            });
        let (domain, mapping) = (self.tried.policy.domain(), &*self.mapping);
        decide_by(&mut self.at_once, domain, mapping, requests)?;
        let Some(spread) = &mut self.spread else { return Ok(()) };
        let requests = spread_times(ordered).into_iter().filter_map(|(now, place)| {
            let (batch, number, event) = ordered.get(place).filter(|(.., event)| own(event))?;
            Some((batch, number, event, now))
        });
        decide_by(spread, domain, mapping, requests)
    }
}

/// Decides requests, each by its batch, its number in there, what is known of it and when it is decided.
fn decide_by<'a>(
    trial: &mut Trial<'_>,
    domain: &'a str,
    mapping: &'a Mapping,
    mut requests: impl Iterator<Item = (&'a Batch, usize, Event, Timestamp)>,
) -> Result<(), ReplayError> {
    let mut planned: [Request<'a>; PLANNED] = Default::default();
    loop {
        let mut count = 0;
        for (request, (batch, number, event, now)) in planned.iter_mut().zip(&mut requests) {
            batch.requests.query(number, mapping, domain, &mut request.query)?;
            (request.event, request.now) = (event, now);
            count += 1;
        }
        match planned.get(..count) {
            Some(planned) if count > 0 => trial.decide(planned)?,
            _ => return Ok(()),
        }
    }
}

/// The times of requests when those that are told in whole seconds are spread over their second, in the order of their lines:
/// with the places of the requests, in order of time.
fn spread_times(ordered: &Ordered) -> Vec<(Timestamp, usize)> {
    let mut times: Vec<(Timestamp, usize)> = Vec::new();
    let mut of_second: Vec<usize> = Vec::new();
    let mut second = Timestamp::default();
    let spread = |of_second: &mut Vec<usize>, second: Timestamp, times: &mut Vec<_>| {
        let count = u64::try_from(of_second.len()).unwrap_or(u64::MAX).max(1);
        for (place, number) in of_second.drain(..).zip(0_u64..) {
            times.push((second.after(Nanos::new(SECOND.get() / count * number)), place));
        }
    };
    for (place, (.., event)) in ordered.iter().enumerate() {
        let begin = whole_second(event.start);
        if begin != second {
            spread(&mut of_second, second, &mut times);
            second = begin;
        }
        if event.is_whole_second {
            of_second.push(place);
        } else {
            times.push((event.start, place));
        }
    }
    spread(&mut of_second, second, &mut times);
    times.sort();
    times
}

/// The second in which a time lies.
pub(super) const fn whole_second(time: Timestamp) -> Timestamp {
    time.before(Nanos::new(time.as_unix_nanos() % SECOND.get()))
}

/// Replays logs. `progress` is told now and then how far it is.
///
/// # Errors
/// If a log cannot be read, most of its lines are not of its format, or there are more keys than there may be.
pub(super) fn run<'p>(
    job: &Job<'p>,
    sources: Vec<Source>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Ran<'p>, ReplayError> {
    let read = Arc::<AtomicU64>::default();
    let sizes = sources.iter().map(Source::size).sum::<Option<u64>>();
    let mut merge = Merge::new(sources, job.reading.clone(), Arc::clone(&read))?;
    let [keys, spread_keys] = [(); 2].map(|()| TrialKeys::default());
    let of = job.deciders.max(1);
    thread::scope(|scope| {
        let deciders: Vec<_> = (0..of)
            .map(|number| {
                let (sender, pieces) = sync_channel::<Arc<Ordered>>(WAITING);
                let decider = Decider {
                    tried: job.tried,
                    mapping: Arc::clone(&job.reading.mapping),
                    max_keys: job.max_keys,
                    at_once: Trial::new(job.tried, job.max_keys, &keys),
                    spread: None,
                    spread_keys: spread_keys.clone(),
                    number,
                    of,
                    has_begun: false,
                };
                (sender, scope.spawn(move || decide_all(decider, &pieces)))
            })
            .collect();
        let mut requests = 0;
        let mut merged = Ok(());
        'merging: loop {
            let ordered = match merge.next() {
                Ok(Some(ordered)) => Arc::new(ordered),
                Ok(None) => break,
                Err(error) => {
                    merged = Err(error);
                    break;
                }
            };
            requests += u64::try_from(ordered.len()).unwrap_or(0);
            if !ordered.is_empty() {
                for (sender, _) in &deciders {
                    // It has ended, with an error.
                    if sender.send(Arc::clone(&ordered)).is_err() {
                        break 'merging;
                    }
                }
            }
            progress(Progress { requests, read: read.load(Ordering::Relaxed), of: sizes });
        }
        let (senders, threads): (Vec<SyncSender<_>>, Vec<_>) = deciders.into_iter().unzip();
        drop(senders);
        let all = threads.into_iter().map(ended).collect::<Result<Vec<_>, _>>();
        merged?;
        let mut all = all?.into_iter();
        let (mut at_once, mut spread) = all.next().ok_or(ReplayError::ThreadEnded)?;
        for (other, other_spread) in all {
            at_once.merge(other);
            if let (Some(own), Some(other)) = (&mut spread, other_spread) {
                own.merge(other);
            }
        }
        Ok(Ran { lines: merge.counts(), at_once, spread })
    })
}

/// What came of a decider.
type Decided<'p> = (Tally<'p>, Option<Tally<'p>>);

fn decide_all<'p>(
    mut decider: Decider<'p>,
    pieces: &Receiver<Arc<Ordered>>,
) -> Result<Decided<'p>, ReplayError> {
    for ordered in pieces {
        decider.decide(&ordered)?;
    }
    Ok((decider.at_once.finish(), decider.spread.map(Trial::finish)))
}

fn ended<'p>(
    thread: ScopedJoinHandle<'_, Result<Decided<'p>, ReplayError>>,
) -> Result<Decided<'p>, ReplayError> {
    thread.join().map_err(|_| ReplayError::ThreadEnded)?
}
