//! Pauses between attempts, which grow.

use std::time::Duration;

/// How long the pauses between several attempts are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first pause, and the shortest one without jitter.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
    /// By what each pause is multiplied for the next one. Up to 1, all pauses are like the first one.
    pub factor: f64,
    /// Whether a pause is shortened at random, to half its length at most, so that replicas do not come all at once.
    pub jitter: bool,
}

impl Backoff {
    /// The pauses from the first one on.
    pub(super) fn pauses(self) -> Pauses {
        Pauses { backoff: self, next: self.initial.min(self.max) }
    }
}

/// The pauses of a [`Backoff`], one after another.
#[derive(Debug, Clone)]
pub(super) struct Pauses {
    backoff: Backoff,
    /// Without jitter.
    next: Duration,
}

impl Pauses {
    /// The next pause. `random` is from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let Backoff { initial, max, factor, jitter } = self.backoff;
        let pause = self.next;
        // Beyond what a duration holds, or without a number, the longest one.
        let grown = Duration::try_from_secs_f64(pause.as_secs_f64() * factor).unwrap_or(max);
        self.next = grown.max(initial).min(max);
        if jitter { shortened(pause, random) } else { pause }
    }

    /// Begins with the first pause again.
    pub(super) fn restart(&mut self) {
        *self = self.backoff.pauses();
    }
}

/// A pause with jitter: from half of it, for 0, to the whole, for 1.
pub(super) fn shortened(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// A random number from 0 to 1; 1 if the system gives no random bits.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pauses(backoff: Backoff, random: f64, count: usize) -> Vec<u128> {
        let mut pauses = backoff.pauses();
        (0..count).map(|_| pauses.next(random).as_millis()).collect()
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let backoff = Backoff { initial: SECOND, max: 10 * SECOND, factor: 2.0, jitter: false };
        assert_eq!(pauses(backoff, 0.0, 6), [1000, 2000, 4000, 8000, 10_000, 10_000]);
        let mut some = backoff.pauses();
        some.next(0.0);
        some.next(0.0);
        some.restart();
        assert_eq!(some.next(0.0), SECOND);
    }

    #[test]
    fn jitter_takes_at_most_half_and_does_not_slow_the_growth() {
        let backoff = Backoff { initial: SECOND, max: 60 * SECOND, factor: 2.0, jitter: true };
        assert_eq!(pauses(backoff, 0.0, 3), [500, 1000, 2000]);
        assert_eq!(pauses(backoff, 1.0, 3), [1000, 2000, 4000]);
    }

    #[test]
    fn no_factor_shrinks_a_pause_or_breaks_it() {
        for factor in [0.5, 0.0, -1.0, 1.0] {
            let backoff = Backoff { initial: SECOND, max: 60 * SECOND, factor, jitter: false };
            let expected = if factor < 0.0 { [1000, 60_000] } else { [1000, 1000] };
            assert_eq!(pauses(backoff, 0.0, 2), expected, "{factor}");
        }
        for factor in [f64::NAN, f64::INFINITY, f64::MAX] {
            let backoff = Backoff { initial: SECOND, max: 60 * SECOND, factor, jitter: false };
            assert_eq!(pauses(backoff, 0.0, 3), [1000, 60_000, 60_000], "{factor}");
        }
        let backoff =
            Backoff { initial: 90 * SECOND, max: 60 * SECOND, factor: 2.0, jitter: false };
        assert_eq!(pauses(backoff, 0.0, 2), [60_000, 60_000]);
    }
}
