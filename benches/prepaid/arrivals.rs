//! Moments of events that come at random.

use tollgate::clock::Nanos;

use crate::random::Random;

impl Random {
    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of events that come at random, `rate` a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short span")]
    pub(crate) fn gap(&mut self, rate: f64) -> Nanos {
        Nanos::new((-(1.0 - self.share()).ln() / rate * 1e9) as u64)
    }

    /// Whether an event happens, whose probability is `per_mille` thousandths.
    pub(crate) fn is_one_of_thousand(&mut self, per_mille: u64) -> bool {
        self.number() % 1000 < per_mille
    }
}
