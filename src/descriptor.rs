//! The question: a domain, descriptors, their entries, and how many hits.
//!
//! Everything here borrows from the decoded message, so that building a [`Query`] allocates nothing
//! for an ordinary request.

use std::fmt;

use smallvec::SmallVec;

use crate::limit::Bucket;

/// The entry that carries a lease to be released.
pub const LEASE: &str = "lease";

/// The most descriptors of one request. Envoy sends one for each `rate_limits` entry of a route.
pub const MOST_DESCRIPTORS: usize = 256;

/// The most entries of one descriptor. Envoy makes at most one for each action of a `rate_limits` entry, and
/// a person writes those.
pub const MOST_ENTRIES: usize = 64;

/// The longest key, in bytes. Keys are written in Envoy's configuration; no client has a say in them.
pub const LONGEST_KEY: usize = 1 << 10;

/// The longest value, in bytes. Envoy takes values from the request that it limits, whose headers it holds to
/// 60 KiB together (`max_request_headers_kb`).
pub const LONGEST_VALUE: usize = 64 << 10;

/// A request that cannot be decided. The first two texts are the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Bytes that are no RateLimitRequest.
    #[error("not a RateLimitRequest: {0}")]
    Malformed(String),
    /// No domain.
    #[error("rate limit domain must not be empty")]
    NoDomain,
    /// No descriptors.
    #[error("rate limit descriptor list must not be empty")]
    NoDescriptors,
    /// More descriptors than are decided together.
    #[error("{0} descriptors; at most {MOST_DESCRIPTORS} are decided together")]
    TooManyDescriptors(usize),
    /// A descriptor without entries.
    #[error("descriptor {0}: entries must not be empty")]
    NoEntries(usize),
    /// An entry without a key.
    #[error("descriptor {descriptor}, entry {entry}: key must not be empty")]
    NoKey {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// Position of the entry, from 0.
        entry: usize,
    },
    /// More entries than a descriptor has.
    #[error("descriptor {descriptor}: {count} entries; send at most {MOST_ENTRIES}")]
    TooManyEntries {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// How many there are.
        count: usize,
    },
    /// A key that nobody writes.
    #[error(
        "descriptor {descriptor}, entry {entry}: key has {bytes} bytes; send at most {LONGEST_KEY}"
    )]
    LongKey {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// Position of the entry, from 0.
        entry: usize,
        /// How long it is.
        bytes: usize,
    },
    /// A value that Envoy would not have let in.
    #[error(
        "descriptor {descriptor}, entry {entry}: value has {bytes} bytes; send at most {LONGEST_VALUE}"
    )]
    LongValue {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// Position of the entry, from 0.
        entry: usize,
        /// How long it is.
        bytes: usize,
    },
    /// A `limit` that is no limit.
    #[error("descriptor {descriptor}: limit: {reason}")]
    Limit {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// What is wrong and what to send.
        reason: String,
    },
    /// A lease that this service cannot have given out.
    #[error(
        "descriptor {0}: lease must be the 32 hexadecimal digits that the acquiring call returned"
    )]
    Lease(usize),
}

/// How many tokens a descriptor charges (above 0), gives back (below 0), or only looks at (0).
///
/// Ordered by what it costs: to charge more is more than to charge less, to look or to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hits(i64);

impl Hits {
    /// Charges nothing.
    pub const LOOK: Self = Self(0);
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

/// The name of what a call holds in concurrency buckets: 128 random bits, 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId([u8; 16]);

impl LeaseId {
    /// A lease of these bits, which nobody may be able to guess.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The first 64 bits: as good as a hash, since they are random.
    pub fn hash64(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = if is_ours { u128::from_str_radix(text, 16).ok() } else { None };
        bits.map(|bits| Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Who knows a lease can release it, so it is not written to logs whole.
impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({:02x}..)", u128::from_be_bytes(self.0) >> 120)
    }
}

/// One fact about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the fact is about; never empty.
    pub key: &'a str,
    /// The fact; may be empty.
    pub value: &'a str,
}

impl Entry<'_> {
    fn check(&self, descriptor: usize, entry: usize) -> Result<(), BadRequest> {
        match (self.key.len(), self.value.len()) {
            (0, _) => Err(BadRequest::NoKey { descriptor, entry }),
            (1..=LONGEST_KEY, 0..=LONGEST_VALUE) => Ok(()),
            (1..=LONGEST_KEY, bytes) => Err(BadRequest::LongValue { descriptor, entry, bytes }),
            (bytes, _) => Err(BadRequest::LongKey { descriptor, entry, bytes }),
        }
    }
}

/// Ordered entries.
pub type Entries<'a> = SmallVec<[Entry<'a>; 8]>;

/// Ordered facts about one request, and what they are to be charged.
#[derive(Debug, Clone)]
pub struct Descriptor<'a> {
    entries: Entries<'a>,
    hits: Hits,
    limit: Option<Bucket>,
    releases: Option<LeaseId>,
}

impl<'a> Descriptor<'a> {
    /// The entries, in order; at least one.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The value of the first entry with this key; later ones do not count.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// What to charge.
    pub const fn hits(&self) -> Hits {
        self.hits
    }

    /// The limit that Envoy brought along, if any; always of tokens.
    pub const fn limit(&self) -> Option<&Bucket> {
        self.limit.as_ref()
    }

    /// The lease to release: negative hits and a `lease` entry. Such a descriptor does nothing else.
    pub const fn releases(&self) -> Option<LeaseId> {
        self.releases
    }
}

/// One question, checked: it has a domain and descriptors, and every descriptor has entries with keys.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    domain: &'a str,
    descriptors: SmallVec<[Descriptor<'a>; 2]>,
}

impl<'a> Query<'a> {
    /// A question that has no descriptors yet; `expected` of them will come.
    ///
    /// # Errors
    /// [`BadRequest`] where the domain is empty, or there will be no or too many descriptors.
    pub fn new(domain: &'a str, expected: usize) -> Result<Self, BadRequest> {
        match expected {
            _ if domain.is_empty() => Err(BadRequest::NoDomain),
            0 => Err(BadRequest::NoDescriptors),
            1..=MOST_DESCRIPTORS => {
                Ok(Self { domain, descriptors: SmallVec::with_capacity(expected) })
            }
            more => Err(BadRequest::TooManyDescriptors(more)),
        }
    }

    /// Adds a descriptor.
    ///
    /// # Errors
    /// [`BadRequest`] where there are no or too many entries, a key is empty, a key or value is too long, or
    /// a lease to be released is not one.
    pub fn add(
        &mut self,
        entries: Entries<'a>,
        hits: Hits,
        limit: Option<Bucket>,
    ) -> Result<(), BadRequest> {
        let at = self.descriptors.len();
        if entries.is_empty() {
            return Err(BadRequest::NoEntries(at));
        }
        if entries.len() > MOST_ENTRIES {
            return Err(BadRequest::TooManyEntries { descriptor: at, count: entries.len() });
        }
        for (position, entry) in entries.iter().enumerate() {
            entry.check(at, position)?;
        }
        let mut descriptor = Descriptor { entries, hits, limit, releases: None };
        if hits < Hits::LOOK
            && let Some(lease) = descriptor.value(LEASE)
        {
            descriptor.releases = Some(LeaseId::parse(lease).ok_or(BadRequest::Lease(at))?);
        }
        self.descriptors.push(descriptor);
        Ok(())
    }

    /// The domain; never empty.
    pub const fn domain(&self) -> &'a str {
        self.domain
    }

    /// The descriptors, in order.
    pub fn descriptors(&self) -> &[Descriptor<'a>] {
        &self.descriptors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a str, value: &'a str) -> Entry<'a> {
        Entry { key, value }
    }

    #[test]
    fn a_question_without_domain_or_descriptors_is_refused_in_the_references_words() {
        let told = |domain, count| Query::new(domain, count).unwrap_err().to_string();
        assert_eq!(told("", 1), "rate limit domain must not be empty");
        assert_eq!(told("d", 0), "rate limit descriptor list must not be empty");
        assert_eq!(told("d", 257), "257 descriptors; at most 256 are decided together");
    }

    #[test]
    fn an_entry_without_a_key_is_refused_and_one_without_a_value_is_not() {
        let mut query = Query::new("d", 3).unwrap();
        query.add([entry("tenant", "")].into_iter().collect(), Hits::ONE, None).unwrap();
        let no_key =
            query.add([entry("a", "1"), entry("", "x")].into_iter().collect(), Hits::ONE, None);
        assert_eq!(no_key, Err(BadRequest::NoKey { descriptor: 1, entry: 1 }));
        assert_eq!(
            query.add([].into_iter().collect(), Hits::ONE, None),
            Err(BadRequest::NoEntries(1))
        );
    }

    #[test]
    fn a_descriptor_as_large_as_can_be_is_taken_and_one_a_bit_larger_is_not() {
        let add = |entries: &[Entry<'_>]| {
            let told = Query::new("d", 1).unwrap().add(entries.into(), Hits::ONE, None);
            told.map_err(|error| error.to_string())
        };
        let text = "x".repeat(LONGEST_VALUE + 1);
        let (key, value) = (&text[..LONGEST_KEY], &text[..LONGEST_VALUE]);
        assert_eq!(add(&[entry(key, value); MOST_ENTRIES]), Ok(()));
        assert_eq!(
            add(&[entry("k", "v"); MOST_ENTRIES + 1]).unwrap_err(),
            "descriptor 0: 65 entries; send at most 64"
        );
        assert_eq!(
            add(&[entry("k", "v"), entry(&text[..=LONGEST_KEY], "v")]).unwrap_err(),
            "descriptor 0, entry 1: key has 1025 bytes; send at most 1024"
        );
        assert_eq!(
            add(&[entry("k", &text)]).unwrap_err(),
            "descriptor 0, entry 0: value has 65537 bytes; send at most 65536"
        );
    }

    #[test]
    fn of_equal_keys_the_first_counts() {
        let mut query = Query::new("d", 1).unwrap();
        query
            .add([entry("k", "first"), entry("k", "second")].into_iter().collect(), Hits::ONE, None)
            .unwrap();
        assert_eq!(query.descriptors()[0].value("k"), Some("first"));
    }

    #[test]
    fn hits_never_overflow() {
        assert_eq!(Hits::charge(u64::MAX).charged(), i64::MAX.unsigned_abs());
        assert_eq!(Hits::give_back(u64::MAX).given_back(), i64::MAX.unsigned_abs());
        assert_eq!(Hits::charge(0), Hits::LOOK);
        assert!(Hits::charge(2) > Hits::ONE && Hits::ONE > Hits::LOOK);
        assert!(Hits::LOOK > Hits::give_back(1));
    }

    #[test]
    fn a_lease_survives_being_written_and_read() {
        let lease = LeaseId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(lease.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(LeaseId::parse(&lease.to_string()), Some(lease));
        for not_ours in
            ["", "00", "+00102030405060708090a0b0c0d0e0f", "zz0102030405060708090a0b0c0d0e0f"]
        {
            assert_eq!(LeaseId::parse(not_ours), None, "{not_ours}");
        }
    }

    #[test]
    fn only_negative_hits_release_a_lease() {
        let lease = "000102030405060708090a0b0c0d0e0f";
        let mut query = Query::new("d", 3).unwrap();
        query.add([entry(LEASE, lease)].into_iter().collect(), Hits::give_back(1), None).unwrap();
        query.add([entry(LEASE, lease)].into_iter().collect(), Hits::ONE, None).unwrap();
        assert_eq!(query.descriptors()[0].releases(), LeaseId::parse(lease));
        assert_eq!(query.descriptors()[1].releases(), None);
        let bad = query.add([entry(LEASE, "mine")].into_iter().collect(), Hits::give_back(1), None);
        assert_eq!(bad, Err(BadRequest::Lease(2)));
    }
}
