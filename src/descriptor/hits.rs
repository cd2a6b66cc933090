//! How much a descriptor charges.

/// How many hits a descriptor charges (above 0) or gives back (below 0); 0 peeks and charges nothing.
///
/// Ordered by cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hits(i64);

impl Hits {
    /// Charges nothing: reports whether one hit would be admitted.
    pub const PEEK: Self = Self(0);
    /// Charges one hit.
    pub const ONE: Self = Self(1);

    /// Charges `count` hits; 0 peeks. Counts above 2^63 - 1 are capped there; no bucket is that large.
    pub fn charge(count: u64) -> Self {
        Self(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Gives `count` hits back; 0 peeks. Capped as in [`Self::charge`].
    pub fn give_back(count: u64) -> Self {
        Self(-Self::charge(count).0)
    }

    /// Both together; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// These without `other`; saturates.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The hits to charge; 0 if it peeks or gives back.
    pub fn charged(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// The hits to give back; 0 if it peeks or charges.
    pub fn given_back(self) -> u64 {
        if self.0 < 0 { self.0.unsigned_abs() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_never_overflow() {
        assert_eq!(Hits::charge(u64::MAX).charged(), i64::MAX.unsigned_abs());
        assert_eq!(Hits::give_back(u64::MAX).given_back(), i64::MAX.unsigned_abs());
        assert_eq!(Hits::charge(0), Hits::PEEK);
        assert!(Hits::charge(2) > Hits::ONE && Hits::ONE > Hits::PEEK);
        assert!(Hits::PEEK > Hits::give_back(1));
    }
}
