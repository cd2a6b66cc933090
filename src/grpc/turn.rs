//! How much of what has come on a connection is read in one turn.
//!
//! A turn is over when the budget of the connection's task is spent, 128 units, see tokio's `coop`. So each
//! frame takes of it what it may cost the server, which is not only its bytes: what a call costs that is begun
//! in 14 bytes, and reset in 13, is much the same as for one of some hundred, and settings may concern every
//! call that is open.

use std::task::{Context, Poll};

use tokio::task::coop;

/// How many bytes a unit of the budget pays for. A turn is 16 KiB: sixty of Envoy's calls. Half of it would
/// cost 3 % of a call where fifty are open at a time.
pub(super) const UNIT: usize = 128;

/// What a frame costs at least, in bytes. Some callers send three or four a call.
const FRAME: usize = 32;

/// What the head of a call costs at least, its body included as far as that goes. No more than Envoy's calls
/// are long, so that of those a turn holds as many as its bytes say.
pub(super) const CALL: usize = 192;

/// What settings cost.
const CHANGE: usize = 2 << 10;

/// The kinds of frame that cost more than others.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// What is said before the first frame, and what every frame begins with: its length, its kind, and five
/// bytes more.
pub(super) const PREFACE: usize = 24;
pub(super) const HEAD: usize = 9;
const LENGTH_AND_KIND: u32 = 4;

/// The frames of a connection as they pass.
#[derive(Debug)]
pub(super) struct Frames {
    /// How much of the frame is still to come.
    rest: usize,
    /// The length and the kind of the next, as far as they have come, and how many bytes of them.
    next: u32,
    seen: u32,
    /// How much was paid for a call and has not come of it yet.
    credit: usize,
    /// How much is owed that is less than a unit.
    owed: usize,
}

impl Frames {
    /// Of a connection on which nothing has come.
    pub(super) const fn new() -> Self {
        Self { rest: PREFACE, next: 0, seen: 0, credit: 0, owed: 0 }
    }

    /// Takes from the task's budget what these bytes cost. Returns how many of them it pays for: those up to
    /// the first frame that begins when it is spent, and never none.
    pub(super) fn pass(&mut self, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let mut left = bytes;
        while let Some(next @ [byte, more @ ..]) = left.get(self.rest..) {
            let is_first = next.len() == bytes.len();
            if self.seen == 0 && !is_first && !self.is_paid(next) && !coop::has_budget_remaining() {
                self.rest = 0;
                return bytes.len() - next.len();
            }
            left = more;
            self.rest = 0;
            self.next = self.next << 8 | u32::from(*byte);
            self.seen += 1;
            if self.seen == LENGTH_AND_KIND {
                self.begin(context);
            }
        }
        self.rest -= left.len();
        bytes.len()
    }

    /// Whether a frame belongs to a call that was paid for. A call whose body is of the next turn would take a
    /// task of its own until then.
    fn is_paid(&self, frame: &[u8]) -> bool {
        self.credit > 0 && frame.get(3).is_some_and(|kind| *kind != HEADERS)
    }

    fn begin(&mut self, context: &mut Context<'_>) {
        let [length @ .., kind] = self.next.to_be_bytes();
        let [a, b, c] = length.map(usize::from);
        let size = HEAD + (a << 16 | b << 8 | c);
        self.rest = size - 4;
        (self.next, self.seen) = (0, 0);
        let least = match kind {
            HEADERS => CALL,
            SETTINGS => CHANGE,
            _ => FRAME,
        };
        let cost = size.max(least);
        let paid = if kind == HEADERS { 0 } else { self.credit.min(cost) };
        self.credit = if kind == HEADERS { cost - size } else { self.credit - paid };
        self.owed += cost - paid;
        for _ in 0..self.owed / UNIT {
            match coop::poll_proceed(context) {
                Poll::Ready(unit) => unit.made_progress(),
                // More than is left of a turn is not owed in the next.
                Poll::Pending => break,
            }
        }
        self.owed %= UNIT;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    /// Frames of these kinds and sizes, all included.
    fn frames(frames: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = vec![b'P'; PREFACE];
        for (kind, size) in frames {
            let length = u32::try_from(size - HEAD).unwrap();
            bytes.extend((length << 8 | u32::from(*kind)).to_be_bytes());
            bytes.resize(bytes.len() + size - 4, 0xff);
        }
        bytes
    }

    /// How many of such frames one turn takes, of a thousand that have come.
    fn of_a_turn(kinds: &[(u8, usize)]) -> usize {
        let size: usize = kinds.iter().map(|(_, size)| size).sum();
        let bytes = frames(&kinds.repeat(1000));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pass =
            move |context: &mut Context<'_>| Poll::Ready(Frames::new().pass(&bytes, context));
        let passed = runtime.block_on(async { tokio::spawn(poll_fn(pass)).await.unwrap() });
        (passed - PREFACE) / size
    }

    #[test]
    fn a_frame_costs_its_bytes_or_what_it_makes_the_server_do() {
        let (data, reset, ping) = (0, 3, 6);
        assert_eq!(of_a_turn(&[(data, 1 << 10)]), 16);
        assert_eq!(of_a_turn(&[(data, HEAD)]), 512);
        assert_eq!(of_a_turn(&[(ping, 17)]), 512);
        assert_eq!(of_a_turn(&[(SETTINGS, HEAD)]), 8);
        assert_eq!(of_a_turn(&[(HEADERS, 14)]), 86);
        assert_eq!(of_a_turn(&[(HEADERS, 14), (reset, 13)]), 86);
        assert_eq!(of_a_turn(&[(HEADERS, 14), (SETTINGS, 15)]), 8);
    }

    #[test]
    fn a_call_costs_its_bytes_where_it_is_one_of_the_usual_kind() {
        assert_eq!(of_a_turn(&[(HEADERS, 100), (0, 156)]), 64);
        assert_eq!(of_a_turn(&[(HEADERS, 20), (0, 492)]), 32);
        assert_eq!(of_a_turn(&[(HEADERS, 512), (0, 512)]), 16);
    }

    /// Outside of a task nothing is spent, and all of it passes.
    #[test]
    fn a_frame_begins_wherever_reads_end() {
        let kinds: Vec<_> = (0..200).map(|number| (0, HEAD + number * 7 % 40)).collect();
        let bytes = frames(&kinds);
        let mut context = Context::from_waker(Waker::noop());
        for size in 1..50 {
            let mut passing = Frames::new();
            for part in bytes.chunks(size) {
                assert_eq!(passing.pass(part, &mut context), part.len());
            }
            assert_eq!((passing.rest, passing.seen), (0, 0), "{size}");
        }
    }
}
