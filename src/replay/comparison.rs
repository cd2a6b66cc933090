//! The difference of two policies on the same requests.

use super::batch::PARTS;
use super::denied_keys::DeniedKeys;
use super::simulation::Denial;
use crate::clock::Timestamp;

/// Requests that one of two policies denies and the other admits.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) requests: u64,
    /// The keys that the denying policy denies, by the part of the requests.
    pub(super) keys: Vec<DeniedKeys>,
}

impl Default for Difference {
    fn default() -> Self {
        Self { requests: 0, keys: (0..PARTS).map(|_| DeniedKeys::default()).collect() }
    }
}

impl Difference {
    fn count(&mut self, denial: Denial, part: u8, now: Timestamp) {
        let Denial { fingerprint, rule, label } = denial;
        self.requests += 1;
        if let Some(keys) = self.keys.get_mut(usize::from(part)) {
            keys.deny(fingerprint, rule, now, || label);
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        for (own, keys) in self.keys.iter_mut().zip(other.keys) {
            own.merge(keys);
        }
    }
}

/// What a policy does to requests, compared with another.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Requests that both deny.
    pub(super) both: u64,
    /// Requests that the policy denies and the other admits.
    pub(super) newly: Difference,
    /// Requests that the other denies and the policy admits.
    pub(super) no_longer: Difference,
}

impl Comparison {
    /// Counts a request that the policy denied or not, and the other denied or not.
    pub(super) fn count(
        &mut self,
        denied: Option<Box<Denial>>,
        other: Option<Box<Denial>>,
        part: u8,
        now: Timestamp,
    ) {
        match (denied, other) {
            (Some(_), Some(_)) => self.both += 1,
            (Some(denial), None) => self.newly.count(*denial, part, now),
            (None, Some(denial)) => self.no_longer.count(*denial, part, now),
            (None, None) => {}
        }
    }

    /// Adds the comparison of other parts of the requests.
    pub(super) fn merge(&mut self, other: Self) {
        self.both += other.both;
        self.newly.merge(other.newly);
        self.no_longer.merge(other.no_longer);
    }
}
