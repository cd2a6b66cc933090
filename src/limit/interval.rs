//! The interval between two tokens in 32 bits, as a bucket's state carries it.

use crate::clock::Nanos;

/// The units in which an interval is kept if it has a whole number of them, in nanoseconds: seconds, milliseconds and
/// microseconds.
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const MICROSECOND: u64 = 1_000;

/// The two highest bits are the number of the unit, or 0 for a rounded number of nanoseconds.
const UNIT_SHIFT: u32 = 30;

/// Of a rounded number, how many bits are kept; the six above count those that were cut off.
const SIGNIFICANT_BITS: u32 = 24;

/// The interval between two tokens of a bucket. It is exact if it is a whole number of seconds, of milliseconds up to 12
/// days, or of microseconds up to 17 minutes; else it is rounded up to 24 significant bits, by at most 1.2e-7 of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactInterval(u32);

impl CompactInterval {
    /// No interval: a state that does not tell the rate under which it was written.
    pub const UNKNOWN: Self = Self(0);

    /// The interval in 32 bits; [`Self::UNKNOWN`] for zero.
    pub fn of(interval: Nanos) -> Self {
        let nanos = interval.get();
        if nanos == 0 {
            return Self::UNKNOWN;
        }
        for (number, unit) in [(3, SECOND), (2, MILLISECOND), (1, MICROSECOND)] {
            if nanos.is_multiple_of(unit)
                && let Ok(count) = u32::try_from(nanos / unit)
                && count >> UNIT_SHIFT == 0
            {
                return Self(number << UNIT_SHIFT | count);
            }
        }
        let mut cut = (u64::BITS - nanos.leading_zeros()).saturating_sub(SIGNIFICANT_BITS);
        let mut rounded = nanos.div_ceil(1 << cut);
        if rounded >> SIGNIFICANT_BITS != 0 {
            // Rounding up has carried into one more bit, which is then the only one.
            (rounded, cut) = (rounded >> 1, cut + 1);
        }
        Self(cut << SIGNIFICANT_BITS | u32::try_from(rounded).unwrap_or(0))
    }

    /// The interval, as it was rounded.
    pub const fn nanos(self) -> Nanos {
        let value = (self.0 & ((1 << UNIT_SHIFT) - 1)) as u64;
        match self.0 >> UNIT_SHIFT {
            0 => {
                let (cut, rounded) =
                    (value >> SIGNIFICANT_BITS, value & ((1 << SIGNIFICANT_BITS) - 1));
                // A snapshot may hold any bits: those that no interval has are the longest one.
                match rounded.checked_mul(1 << cut) {
                    Some(nanos) => Nanos::new(nanos),
                    None => Nanos::new(u64::MAX),
                }
            }
            1 => Nanos::new(value * MICROSECOND),
            2 => Nanos::new(value * MILLISECOND),
            _ => Nanos::new(value * SECOND),
        }
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// Little-endian bytes, as in a snapshot.
    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_intervals_are_exact() {
        let hour = 3_600_000_000_000;
        for nanos in [1_000, 1_234_567, 100_000_000, 600_000_000, hour / 100, hour, 365 * 24 * hour]
        {
            assert_eq!(CompactInterval::of(Nanos::new(nanos)).nanos().get(), nanos);
        }
    }

    #[test]
    fn every_interval_is_rounded_up_by_little() {
        let numbers = (0..63).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for nanos in numbers.chain([8_571_428_571, 1 << 62, (1 << 63) - 1]) {
            let rounded = CompactInterval::of(Nanos::new(nanos)).nanos().get();
            assert!(rounded >= nanos, "{nanos} became {rounded}");
            assert!(rounded - nanos <= nanos >> 23, "{nanos} became {rounded}");
            assert_eq!(CompactInterval::of(Nanos::new(rounded)).nanos().get(), rounded);
        }
        assert_eq!(CompactInterval::of(Nanos::ZERO), CompactInterval::UNKNOWN);
    }

    #[test]
    fn any_bits_are_an_interval() {
        for bits in [1, u32::MAX, 63 << 24 | 5, 1 << 24, 1 << 30] {
            let interval = CompactInterval::from_bytes(bits.to_le_bytes());
            assert_eq!(interval.to_bytes(), bits.to_le_bytes());
            interval.nanos();
        }
    }
}
