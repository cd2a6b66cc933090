//! What replicas tell each other, through a shared store, of the buckets that their Envoys share.
//!
//! Each replica divides the buckets between its own holders. So that all together hand out no more than there is, each
//! keeps in the store what its holders want and what it has assigned to them, and reads the same of the others.
//!
//! # Format 1
//!
//! Numbers are little-endian, rates are 32-bit floats in requests a second.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format |
//! | 8 | how often the replica has written its claims |
//! | 48 for each bucket | 16 for its name; 4 and 4 for the number of satisfied holders, and what they want; the same of hungry ones; 4 for what is assigned, 4 for what is used, 4 for the tokens that are held, 4 for the number of holders that are gone |

use hashbrown::HashMap;

use super::count;
use crate::clock::Nanos;
use crate::policy::fingerprint::Fingerprint;

const FORMAT: u8 = 1;

/// The bytes of one bucket.
const RECORD: usize = 48;

/// The most buckets of which a replica tells the others: 2.4 MB. Of any more, they see only what is taken.
const MAX_BUCKETS: usize = 50_000;

/// The shortest and the longest time between two times at which a replica writes its claims and reads those of the others.
const SHORTEST_INTERVAL: Nanos = Nanos::new(250_000_000);
const LONGEST_INTERVAL: Nanos = Nanos::from_secs(1);

/// With so many buckets more, it takes [`SHORTEST_INTERVAL`] longer, so that the store moves 2 MB a second for a
/// replica at most.
const BUCKETS_OF_INTERVAL: usize = 10_000;

/// The number of a replica among those that share a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub u64);

/// Holders, and what they want together, in requests a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wanted {
    /// How many they are.
    pub holders: u32,
    /// What they want.
    pub rate: f64,
}

impl Wanted {
    /// Adds a holder that wants this rate.
    pub(super) fn add(&mut self, rate: f64) {
        self.holders = self.holders.saturating_add(1);
        self.rate += rate;
    }

    /// How fast what they get rises with the level of each of them.
    pub(super) fn weight(self) -> f64 {
        count(self.holders.into())
    }
}

/// What the holders of one replica have of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BucketClaim {
    /// Those that want no more of it than they get, also since another bucket has no more for them.
    pub satisfied: Wanted,
    /// Those that would take more of it.
    pub hungry: Wanted,
    /// What they all may use, in requests a second, also those that are gone.
    pub assigned: f64,
    /// What they are predicted to use, in requests a second.
    pub used: f64,
    /// How many tokens their Envoys hold at most.
    pub held: f64,
    /// How many have gone: their streams have ended, and their Envoys may come back, perhaps to another replica.
    pub gone: u32,
}

impl BucketClaim {
    /// How many holders there are.
    pub(super) fn holders(&self) -> f64 {
        self.satisfied.weight() + self.hungry.weight()
    }

    /// What they want, in requests a second.
    pub(super) fn wants(&self) -> f64 {
        self.satisfied.rate + self.hungry.rate
    }

    /// Whether shares that go by this one need not be divided anew for that one.
    pub(super) fn is_about(&self, other: &Self) -> bool {
        let counts = |of: &Self| [of.satisfied.holders, of.hungry.holders, of.gone];
        let is_close = |one: f64, two: f64| (one - two).abs() <= one.max(two) * 0.02;
        counts(self) == counts(other)
            && is_close(self.assigned, other.assigned)
            && is_close(self.satisfied.rate, other.satisfied.rate)
            && is_close(self.hungry.rate, other.hungry.rate)
    }
}

/// All claims of a replica.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims {
    /// How often it has written them: a replica that ends writes no more.
    pub written: u64,
    /// Its claims by bucket.
    pub of_buckets: HashMap<Fingerprint, BucketClaim>,
}

impl Claims {
    /// The buckets with fewer gone holders than `before`: their shares were given up, or their Envoys are back.
    pub(super) fn less_gone_than(&self, before: &Self) -> impl Iterator<Item = Fingerprint> {
        before.of_buckets.iter().filter_map(|(bucket, before)| {
            let gone = self.of_buckets.get(bucket).map_or(0, |claim| claim.gone);
            (gone < before.gone).then_some(*bucket)
        })
    }

    /// How long a replica with so many buckets waits before it writes and reads again.
    pub(super) fn interval(buckets: usize) -> Nanos {
        let times = u64::try_from(buckets / BUCKETS_OF_INTERVAL).unwrap_or(u64::MAX);
        SHORTEST_INTERVAL.times(times.saturating_add(1)).min(LONGEST_INTERVAL)
    }

    /// As they are kept in a store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let told = self.of_buckets.len().min(MAX_BUCKETS);
        let mut bytes = Vec::with_capacity(9 + told * RECORD);
        bytes.push(FORMAT);
        bytes.extend(self.written.to_le_bytes());
        for (bucket, claim) in self.of_buckets.iter().take(MAX_BUCKETS) {
            bytes.extend(bucket.to_bytes());
            for Wanted { holders, rate } in [claim.satisfied, claim.hungry] {
                bytes.extend(holders.to_le_bytes());
                bytes.extend(narrow(rate).to_le_bytes());
            }
            for number in [claim.assigned, claim.used, claim.held] {
                bytes.extend(narrow(number).to_le_bytes());
            }
            bytes.extend(claim.gone.to_le_bytes());
        }
        bytes
    }

    /// The claims that [`Self::to_bytes`] wrote; `None` for any other bytes, such as those of another format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[format], bytes) = bytes.split_first_chunk()?;
        let (written, bytes) = bytes.split_first_chunk()?;
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if format != FORMAT || !rest.is_empty() || records.len() > MAX_BUCKETS {
            return None;
        }
        let of_buckets = records.iter().map(record).collect::<Option<_>>()?;
        Some(Self { written: u64::from_le_bytes(*written), of_buckets })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a share")]
const fn narrow(rate: f64) -> f32 {
    rate as f32
}

fn record(bytes: &[u8; RECORD]) -> Option<(Fingerprint, BucketClaim)> {
    let (name, bytes) = bytes.split_first_chunk::<16>()?;
    let (fields, _) = bytes.as_chunks::<4>();
    let &[satisfied, satisfied_rate, hungry, hungry_rate, assigned, used, held, gone] = fields
    else {
        return None;
    };
    let rate = |bytes| {
        let rate = f64::from(f32::from_le_bytes(bytes));
        (rate.is_finite() && rate >= 0.0).then_some(rate)
    };
    let wanted =
        |holders, of| Some(Wanted { holders: u32::from_le_bytes(holders), rate: rate(of)? });
    let claim = BucketClaim {
        satisfied: wanted(satisfied, satisfied_rate)?,
        hungry: wanted(hungry, hungry_rate)?,
        assigned: rate(assigned)?,
        used: rate(used)?,
        held: rate(held)?,
        gone: u32::from_le_bytes(gone),
    };
    Some((Fingerprint::from_bytes(*name), claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let claim = BucketClaim {
            satisfied: Wanted { holders: 2, rate: 11.5 },
            hungry: Wanted { holders: 1, rate: 108.0 },
            assigned: 50.0,
            used: 47.25,
            held: 12.5,
            gone: 1,
        };
        let names = [[7; 16], [8; 16]].map(Fingerprint::from_bytes);
        Claims { written: 3, of_buckets: names.map(|name| (name, claim)).into_iter().collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Claims::from_bytes(&claims().to_bytes()), Some(claims()));
        assert_eq!(Claims::from_bytes(&Claims::default().to_bytes()), Some(Claims::default()));
    }

    #[test]
    fn no_other_bytes_are_claims() {
        let bytes = claims().to_bytes();
        for length in 0..bytes.len() {
            let whole = length >= 9 && (length - 9).is_multiple_of(RECORD);
            assert_eq!(Claims::from_bytes(&bytes[..length]).is_some(), whole, "{length}");
        }
        let with = |at: usize, value: &[u8]| {
            let mut bytes = claims().to_bytes();
            bytes[at..at + value.len()].copy_from_slice(value);
            Claims::from_bytes(&bytes)
        };
        assert_eq!(with(0, &[2]), None);
        let rates = [f32::NAN, f32::INFINITY, -1.0].map(f32::to_le_bytes);
        // What the satisfied ones want, and what is held.
        for at in [9 + 20, 9 + 40] {
            assert!(rates.iter().all(|rate| with(at, rate).is_none()), "{at}");
        }
    }

    #[test]
    fn the_more_buckets_there_are_the_less_often_they_are_told() {
        let millis = |buckets| Claims::interval(buckets).get() / 1_000_000;
        assert_eq!([0, 9_999, 10_000, 30_000, 50_000].map(millis), [250, 250, 500, 1_000, 1_000]);
    }
}
