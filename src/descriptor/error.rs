//! Why a request cannot be decided.

use super::{MAX_DESCRIPTORS, MAX_ENTRIES, MAX_KEY_LENGTH};

/// Why a request cannot be decided. The texts about an empty domain and an empty list are those of
/// envoyproxy/ratelimit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The bytes are not a RateLimitRequest.
    #[error("not a RateLimitRequest: {0}")]
    Malformed(String),
    /// The domain is empty.
    #[error("rate limit domain must not be empty")]
    NoDomain,
    /// There are no descriptors.
    #[error("rate limit descriptor list must not be empty")]
    NoDescriptors,
    /// There are too many descriptors; how many.
    #[error("{0} descriptors; at most {MAX_DESCRIPTORS} are decided together")]
    TooManyDescriptors(usize),
    /// A descriptor has no entries; its position, from 0.
    #[error("descriptor {0}: entries must not be empty")]
    NoEntries(usize),
    /// The key of an entry is empty.
    #[error("descriptor {descriptor}, entry {entry}: key must not be empty")]
    NoKey {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// Position of the entry, from 0.
        entry: usize,
    },
    /// A descriptor has too many entries.
    #[error("descriptor {descriptor}: {count} entries; send at most {MAX_ENTRIES}")]
    TooManyEntries {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// How many it has.
        count: usize,
    },
    /// A key is too long.
    #[error(
        "descriptor {descriptor}, entry {entry}: key has {bytes} bytes; send at most {MAX_KEY_LENGTH}"
    )]
    LongKey {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// Position of the entry, from 0.
        entry: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A limit override is invalid.
    #[error("descriptor {descriptor}: limit: {reason}")]
    Limit {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// What is wrong, and what to send.
        reason: String,
    },
}
