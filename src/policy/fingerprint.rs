//! A bucket's name: a hash of 128 bits that stands for the strings that identify the bucket.
//!
//! A name combines two hashes. The *base* is a hash of the key values (the tenant, the address), the *salt* a hash of
//! the place in the policy (domain, table, row, bucket of the row). A fingerprint is base xor salt, so a descriptor's
//! key values are hashed once, however many buckets they name. Both hashes are SipHash-1-3 under a secret key, so that
//! clients cannot choose values that collide. Two names are equal with probability 2^-117, or 2^-85 for two buckets of
//! the same row and tenant.
//!
//! Replicas with a shared store must compute the same names. There, both hashes are SHA-256, truncated to 128 bits:
//! clients cannot choose values that collide, although nothing is secret. It takes a tenth of a microsecond more for
//! each descriptor; a round trip to the store takes a hundred times that.
//!
//! Eleven bits come from the base alone and choose the shard: all buckets of one tenant are in one shard, and a request
//! whose buckets are named by the tenant takes one lock. Shared names have fourteen such bits, the *partition*, and
//! these come from one entry, the tenant's, so that all its buckets are on one node of a cluster. Another 32 bits are
//! the same for all buckets of one row and one tenant and choose the place in the shard's table: these buckets are
//! always read together, so they are stored side by side.
//!
//! A token bucket is stored under 96 bits of its name, its [`ShortName`]. They include the eleven bits of the shard, so
//! that a bucket of a snapshot finds its shard in a store of any size. Among the few buckets of one row and one tenant,
//! 53 of these bits vary: two names agree with probability 2^-53, and a policy of ten thousand rows of four buckets
//! (2^15.9 pairs) has such a pair with probability 2^-37. Names of different tenants agree with probability 2^-96. A
//! store of ten million keys (2^23.3) that receives a million new names a second for a hundred years (2^51.5 in all)
//! confuses two of them with probability 2^(23.3 + 51.5 - 96) = 2^-21.
//!
//! Names outlive the process in snapshots. A change to how names are made requires a new snapshot version: otherwise
//! all buckets of an older snapshot are silently lost. `tests/suites/snapshot.rs` reads a snapshot of version 1.

use std::fmt;
use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};

/// The bits of the first word that choose the shard.
pub(super) const SHARD_BITS: u64 = 0x7ff;

/// The bits of the first word that come from the base alone; they include the bits of the shard.
pub(super) const PARTITION_BITS: u64 = 0x3fff;

/// The bits of the second word that choose the place in a shard's table, which never has more places. The other bits
/// distinguish the entries at one place.
pub(super) const PLACE_BITS: u64 = 0xffff_ffff;

/// The number of different [`Fingerprint::shard`] values.
pub const SHARDS: usize = 2048;

/// The key of the hashes. Names depend on it and on the policy, so it is kept across reloads and in snapshots.
#[derive(Clone, Copy)]
pub struct FingerprintKey(pub(super) Kind);

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A secret of this process.
    Secret(u64, u64),
    /// No secret: all replicas compute the same names.
    Shared,
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}

impl FingerprintKey {
    /// A random key from the operating system.
    ///
    /// # Errors
    /// If the operating system has no random bits.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(Kind::Secret(getrandom::u64()?, getrandom::u64()?)))
    }

    /// A fixed key, for tests and simulations that must repeat exactly.
    pub const fn fixed(key: u64) -> Self {
        Self(Kind::Secret(key, !key))
    }

    /// The key with which all replicas compute the same names.
    pub const fn shared() -> Self {
        Self(Kind::Shared)
    }

    /// The key that [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let [first, second] = words(bytes);
        Self(Kind::Secret(first, second))
    }

    /// The secret, with which values that collide can be constructed; zeros for [`Self::shared`].
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        match self.0 {
            Kind::Secret(first, second) => bytes([first, second]),
            Kind::Shared => [0; 16],
        }
    }

    /// Hashes a few texts through dynamic dispatch; key values are hashed without it.
    pub(super) fn hash(self, texts: impl FnOnce(&mut dyn NameHasher)) -> [u64; 2] {
        match self.0 {
            Kind::Secret(first, second) => {
                let mut hasher = SipHasher13::new_with_keys(first, second);
                texts(&mut hasher);
                hasher.name()
            }
            Kind::Shared => {
                let mut hasher = Sha256::new();
                texts(&mut hasher);
                hasher.name()
            }
        }
    }
}

/// Hashes a list of texts unambiguously: each is preceded by its length.
pub(super) trait NameHasher {
    fn add(&mut self, lead: u64, bytes: &[u8]);

    fn name(&self) -> [u64; 2];

    /// `kind` distinguishes a text from an address of the same bytes.
    fn bytes(&mut self, kind: u8, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.add(length << 8 | u64::from(kind), bytes);
    }

    fn text(&mut self, text: &str) {
        self.value(text.as_bytes());
    }

    fn value(&mut self, value: &[u8]) {
        self.bytes(0, value);
    }
}

impl NameHasher for SipHasher13 {
    fn add(&mut self, lead: u64, bytes: &[u8]) {
        self.write_u64(lead);
        self.write(bytes);
    }

    fn name(&self) -> [u64; 2] {
        let hash = self.finish128();
        [hash.h1, hash.h2]
    }
}

impl NameHasher for Sha256 {
    fn add(&mut self, lead: u64, bytes: &[u8]) {
        self.update(lead.to_le_bytes());
        self.update(bytes);
    }

    fn name(&self) -> [u64; 2] {
        let hash: [u8; 32] = self.clone().finalize().into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash;
        words([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// The name of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) [u64; 2]);

impl Fingerprint {
    /// The bucket's shard, one of [`SHARDS`]; the same for all buckets of the same key values.
    pub fn shard(self) -> usize {
        let [first, _] = self.0;
        usize::try_from(first & SHARD_BITS).unwrap_or(0)
    }

    /// The bucket's partition, below 2^14: the same for all buckets of the same key values and, if names are
    /// shared, of the same tenant.
    pub fn partition(self) -> u16 {
        let [first, _] = self.0;
        u16::try_from(first & PARTITION_BITS).unwrap_or(0)
    }

    /// 64 well-mixed bits for a hash table.
    pub fn hash64(self) -> u64 {
        let [_, second] = self.0;
        second
    }

    /// The name under which a token bucket is stored.
    pub fn short(self) -> ShortName {
        let [first, second] = self.0.map(u64::to_le_bytes);
        let ([a, b, c, d, ..], [e, f, g, h, i, j, k, l]) = (first, second);
        ShortName([[e, f, g, h], [i, j, k, l], [a, b, c, d]].map(u32::from_le_bytes))
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let is_one = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (first, second) = text.split_at_checked(16).filter(|_| is_one)?;
        Some(Self([word(first)?, word(second)?]))
    }

    /// The name that [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(words(bytes))
    }

    /// The whole name.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        bytes(self.0)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0;
        write!(f, "{first:016x}{second:016x}")
    }
}

/// 96 bits of a bucket's name: those of [`Fingerprint::hash64`], and the lower half of the other word, which includes
/// the bits of the shard. An array of four-byte words, so that a state of eight bytes follows without padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShortName([u32; 3]);

impl ShortName {
    /// The [`Fingerprint::shard`] of the bucket.
    pub fn shard(self) -> usize {
        let Self([.., first]) = self;
        usize::try_from(u64::from(first) & SHARD_BITS).unwrap_or(0)
    }

    /// The [`Fingerprint::hash64`] of the bucket.
    pub fn hash64(self) -> u64 {
        let Self([low, high, _]) = self;
        u64::from(low) | u64::from(high) << 32
    }

    /// The name that [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self([[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes))
    }

    /// The name as bytes.
    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l]] = self.0.map(u32::to_le_bytes);
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

pub(super) fn words(bytes: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]].map(u64::from_le_bytes)
}

pub(super) fn bytes([first, second]: [u64; 2]) -> [u8; 16] {
    (u128::from(first) | u128::from(second) << 64).to_le_bytes()
}
