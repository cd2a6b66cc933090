//! A value split over sixteen locks, so that threads seldom wait for each other.

use parking_lot::Mutex;

/// The number of stripes.
pub const STRIPES: usize = 16;

/// Sixteen values of one type, each with its own lock, selected by a hash.
#[derive(Debug, Default)]
pub struct Striped<T> {
    others: [Mutex<T>; STRIPES - 1],
    last: Mutex<T>,
}

impl<T> Striped<T> {
    /// The stripe of a hash, by its lowest four bits.
    pub fn of(&self, hash: u64) -> &Mutex<T> {
        let [lowest, ..] = hash.to_le_bytes();
        self.at(usize::from(lowest))
    }

    /// The stripe with this number, modulo [`STRIPES`].
    pub fn at(&self, number: usize) -> &Mutex<T> {
        self.others.get(number % STRIPES).unwrap_or(&self.last)
    }

    /// All stripes.
    pub fn iter(&self) -> impl Iterator<Item = &Mutex<T>> {
        self.others.iter().chain([&self.last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_hashes_reach_sixteen_stripes() {
        let striped = Striped::<u64>::default();
        (0..160).for_each(|hash| *striped.of(hash).lock() += 1);
        assert!(striped.iter().all(|stripe| *stripe.lock() == 10));
        assert_eq!(striped.iter().count(), STRIPES);
    }
}
