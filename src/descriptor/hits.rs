//! What a descriptor charges.

/// How many tokens a descriptor charges (above 0), gives back (below 0), or only looks at (0).
///
/// Ordered by what it costs: to charge more is more than to charge less, to look or to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hits(i64);

impl Hits {
    /// Charges nothing.
    pub const PEEK: Self = Self(0);
    /// Charges one.
    pub const ONE: Self = Self(1);

    /// Charges `count`; 0 is a look. Counts over 2^63 - 1 are that: no bucket is so large.
    pub fn charge(count: u64) -> Self {
        Self(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Gives `count` back; 0 is a look.
    pub fn give_back(count: u64) -> Self {
        Self(-Self::charge(count).0)
    }

    /// The tokens to charge: 0 for a look and for hits given back.
    pub fn charged(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// The tokens to give back: 0 for a look and for a charge.
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
