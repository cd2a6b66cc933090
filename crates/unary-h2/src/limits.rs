//! What a peer may make a connection do and keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::frame::DEFAULT_WINDOW_SIZE;

/// The bounds of one connection. Each has a default that suits callers of small messages.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many streams may be open at a time; a further one is reset with `REFUSED_STREAM`. 1 to 65,535.
    pub max_streams: u32,
    /// How many bytes the fields of one request may have, names, values and 32 for each field; one with more is
    /// answered with status 431. A header block may be twice as long, as it is sent; a longer one ends the connection.
    pub max_header_list: usize,
    /// How many bytes the body of a call may have, in bytes; one with more is handed over as [`Unread::TooLarge`].
    ///
    /// [`Unread::TooLarge`]: crate::Unread::TooLarge
    pub max_body: usize,
    /// How many bytes of bodies without an end the connection keeps; beyond it a call is handed over as
    /// [`Unread::TooMuch`](crate::Unread::TooMuch).
    pub max_partial: usize,
    /// How many bytes of a stream a peer may send ahead of their being read, 0 to 2^31 - 1.
    pub stream_window: u32,
    /// The same for all streams together, at least 65,535.
    pub connection_window: u32,
    /// How many of its streams a peer may have ended by errors before its connection is ended with
    /// `ENHANCE_YOUR_CALM`.
    pub max_errors: u32,
    /// How many of its calls a peer may reset within [`Self::reset_period`] before its connection is ended with
    /// `ENHANCE_YOUR_CALM`. By default there is no such limit: a proxy resets every call that it times out, and what
    /// a reset call costs is part of the turn.
    pub max_resets: u32,
    /// The time over which resets are counted.
    pub reset_period: Duration,
    /// How much is read of a connection in one turn, in bytes. Frames that cost more than their bytes count for more,
    /// see [`Self::frame_cost`].
    pub turn: usize,
    /// What a frame counts for at least, in bytes of a turn.
    pub frame_cost: usize,
    /// What a header block counts for at least, the body behind it included as far as that goes.
    pub call_cost: usize,
    /// What SETTINGS count for: they may concern every open stream.
    pub settings_cost: usize,
    /// How long a call may wait for its body, and its answer for room in the peer's windows, before it is reset.
    pub stall: Duration,
    /// How long a peer that was told of the end of the connection may take to end its calls.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            max_header_list: 64 << 10,
            max_body: 4 << 20,
            max_partial: 16 << 20,
            stream_window: DEFAULT_WINDOW_SIZE,
            connection_window: 1 << 20,
            max_errors: 1024,
            max_resets: u32::MAX,
            reset_period: Duration::from_secs(30),
            turn: 16 << 10,
            frame_cost: 32,
            call_cost: 192,
            settings_cost: 2 << 10,
            stall: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

/// Bytes of bodies without an end that several connections may keep together.
#[derive(Debug, Clone)]
pub struct Budget {
    kept: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    /// Of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { kept: Arc::default(), max }
    }

    /// How many bytes are kept now.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if there are as many.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let take = |kept: usize| kept.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one connection has taken of a [`Budget`], and may take. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Budget,
    taken: usize,
    max: usize,
}

impl Share {
    pub(crate) const fn new(of: Budget, max: usize) -> Self {
        Self { of, taken: 0, max }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.taken + bytes <= self.max && self.of.take(bytes);
        if fits {
            self.taken += bytes;
        }
        fits
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        self.of.give_back(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.give_back(self.taken);
    }
}

/// What has been read of a connection in a turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    spent: usize,
    /// What was counted for a call and has not come of it yet.
    credit: usize,
}

impl Turn {
    pub(crate) fn begin(&mut self) {
        self.spent = 0;
    }

    /// Whether the turn is over before a frame. The body of a call that was counted belongs to the turn of its head:
    /// the call would have to be kept until the next one.
    #[inline]
    pub(crate) const fn is_over(&self, limits: &Limits, is_head: bool) -> bool {
        self.spent >= limits.turn && (is_head || self.credit == 0)
    }

    /// Counts a frame of `size` bytes that costs at least `least`.
    #[inline]
    pub(crate) fn count(&mut self, size: usize, least: usize, is_head: bool) {
        let cost = if size > least { size } else { least };
        if is_head {
            self.credit = cost - size;
            self.spent += cost;
        } else {
            let paid = self.credit.min(cost);
            self.credit -= paid;
            self.spent += cost - paid;
        }
    }

    /// Counts the fields of a header block, which cost `cost`, as far as they cost more than any call.
    pub(crate) const fn count_fields(&mut self, cost: usize, call_cost: usize) {
        self.spent += cost.saturating_sub(call_cost);
    }

    /// Counts a body that was kept and has its end now: all of it is read at once.
    pub(crate) fn count_kept(&mut self, bytes: usize) {
        self.spent += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_comes_back() {
        let budget = Budget::new(100);
        let mut first = Share::new(budget.clone(), 60);
        let mut second = Share::new(budget.clone(), 60);
        assert!(first.take(60) && !first.take(1));
        assert!(!second.take(41) && second.take(40));
        first.give_back(10);
        assert!(second.take(10));
        drop(first);
        drop(second);
        assert_eq!(budget.kept(), 0);
    }

    /// How many such frames one turn takes.
    fn of_a_turn(frames: &[(bool, usize, usize)]) -> usize {
        let limits = Limits::default();
        let mut turn = Turn::default();
        let mut taken = 0;
        for (is_head, size, least) in frames.iter().cycle() {
            if turn.is_over(&limits, *is_head) {
                break;
            }
            turn.count(*size, *least, *is_head);
            taken += 1;
        }
        taken / frames.len()
    }

    #[test]
    fn a_frame_costs_its_bytes_or_what_it_makes_the_server_do() {
        assert_eq!(of_a_turn(&[(false, 1 << 10, 32)]), 16);
        assert_eq!(of_a_turn(&[(false, 9, 32)]), 512);
        assert_eq!(of_a_turn(&[(false, 9, 2 << 10)]), 8);
        assert_eq!(of_a_turn(&[(true, 14, 192)]), 86);
        assert_eq!(of_a_turn(&[(true, 14, 192), (false, 13, 32)]), 86);
        assert_eq!(of_a_turn(&[(true, 100, 192), (false, 156, 32)]), 64);
    }
}
