//! Pseudorandom numbers: the same seed gives the same ones.

use tollgate::clock::Nanos;

/// SplitMix64, from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of events that come at random, `rate` a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short span")]
    pub(crate) fn gap(&mut self, rate: f64) -> Nanos {
        Nanos::new((-(1.0 - self.share()).ln() / rate * 1e9) as u64)
    }

    /// Whether an event happens, whose probability is `per_mille` thousandths.
    pub(crate) fn is_one_of_thousand(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }
}
