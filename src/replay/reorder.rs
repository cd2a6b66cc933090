//! Puts the requests of several logs, each nearly in order of time, in order.
//!
//! A request is taken if it began no longer than the window before the latest one that was read of its log. Which those are
//! depends on the logs alone, so that a replay can be repeated. A request leaves the buffer as soon as no log can bring an
//! earlier one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, Event, OwnedBatch};
use crate::clock::{Nanos, Timestamp};

/// The most requests that wait, some 200 MB. Beyond them the window is shorter than it is set.
const MAX_WAITING: usize = 1_000_000;

/// A request in the buffer. They are ordered by their time, then as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    start: Timestamp,
    number: u64,
    batch: u32,
    event: u32,
}

/// Requests in order of time.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// The batches that hold them.
    batches: Vec<Arc<OwnedBatch>>,
    /// For each request its batch in `batches`, and its number in there.
    order: Vec<(u32, u32)>,
}

impl Ordered {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The request at this place.
    pub(super) fn get(&self, place: usize) -> Option<(&Batch, usize, Event)> {
        let (batch, event) = *self.order.get(place)?;
        let batch = self.batches.get(usize::try_from(batch).ok()?)?;
        let event = usize::try_from(event).ok()?;
        Some((&**batch, event, *batch.events.get(event)?))
    }

    /// The requests, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Batch, usize, Event)> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Reorder {
    /// Nearly all requests, in order.
    in_order: VecDeque<Waiting>,
    /// Those that came later than others that began after them.
    others: BinaryHeap<Reverse<Waiting>>,
    /// The batches with requests in the buffer, and how many each has there.
    batches: Vec<(Option<Arc<OwnedBatch>>, usize)>,
    /// The places in `batches` that are free.
    free: Vec<u32>,
    read: u64,
    /// The time up to which requests have left.
    released: Timestamp,
    /// Requests that came too late.
    late: u64,
    max_waiting: usize,
}

impl Default for Reorder {
    fn default() -> Self {
        Self::with_capacity(MAX_WAITING)
    }
}

impl Reorder {
    fn with_capacity(max_waiting: usize) -> Self {
        Self {
            in_order: VecDeque::new(),
            others: BinaryHeap::new(),
            batches: Vec::new(),
            free: Vec::new(),
            read: 0,
            released: Timestamp::default(),
            late: 0,
            max_waiting,
        }
    }

    /// How many requests came later than the buffer waits, and were left out.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    /// Adds the requests of a batch.
    pub(super) fn push(&mut self, batch: OwnedBatch) {
        let batch = Arc::new(batch);
        let place = self.free.pop().or_else(|| {
            let place = u32::try_from(self.batches.len()).ok()?;
            self.batches.push((None, 0));
            Some(place)
        });
        let Some(place) = place else { return };
        let mut count = 0;
        for (event, number) in batch.events.iter().zip(0_u32..) {
            if event.start < self.released {
                self.late += 1;
                continue;
            }
            self.read += 1;
            count += 1;
            let waiting =
                Waiting { start: event.start, number: self.read, batch: place, event: number };
            match self.in_order.back() {
                Some(last) if last.start > event.start => self.others.push(Reverse(waiting)),
                _ => self.in_order.push_back(waiting),
            }
        }
        match self.batches.get_mut(usize::try_from(place).unwrap_or(usize::MAX)) {
            Some(of) if count > 0 => *of = (Some(batch), count),
            _ => self.free.push(place),
        }
    }

    /// Takes the requests that began before `until`; more of them if too many wait.
    pub(super) fn take(&mut self, until: Timestamp) -> Ordered {
        let mut ordered = Ordered::default();
        let mut places: Vec<Option<u32>> = vec![None; self.batches.len()];
        while let Some(next) = self.next(until) {
            let at = usize::try_from(next.batch).unwrap_or(usize::MAX);
            let (Some(place), Some((kept, waiting))) =
                (places.get_mut(at), self.batches.get_mut(at))
            else {
                continue;
            };
            let Some(batch) = kept else { continue };
            let place = *place.get_or_insert_with(|| {
                ordered.batches.push(Arc::clone(batch));
                u32::try_from(ordered.batches.len() - 1).unwrap_or(u32::MAX)
            });
            ordered.order.push((place, next.event));
            *waiting -= 1;
            if *waiting == 0 {
                *kept = None;
                self.free.push(next.batch);
            }
        }
        ordered
    }

    fn next(&mut self, until: Timestamp) -> Option<Waiting> {
        let is_full = self.in_order.len() + self.others.len() > self.max_waiting;
        let other = self.others.peek().map(|Reverse(other)| *other);
        let next = match (self.in_order.front().copied(), other) {
            (Some(first), Some(other)) => first.min(other),
            (first, other) => first.or(other)?,
        };
        if next.start >= until && !is_full {
            return None;
        }
        if Some(next) == other {
            self.others.pop();
        } else {
            self.in_order.pop_front();
        }
        self.released = self.released.max(next.start);
        Some(next)
    }
}

/// Which of the requests of one log come too late.
#[derive(Debug)]
pub(super) struct Lateness {
    window: Nanos,
    latest: Timestamp,
}

impl Lateness {
    /// Waits for `window`.
    pub(super) const fn new(window: Nanos) -> Self {
        Self { window, latest: Timestamp::from_unix_nanos(0) }
    }

    /// Whether a request that began at `start` comes later than the window.
    pub(super) fn is_late(&mut self, start: Timestamp) -> bool {
        self.latest = self.latest.max(start);
        start < self.watermark()
    }

    /// No later line of the log is taken that began before this.
    pub(super) const fn watermark(&self) -> Timestamp {
        self.latest.before(self.window)
    }
}
