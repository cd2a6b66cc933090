//! Why a request cannot be decided.

use super::{MAX_DESCRIPTORS, MAX_ENTRIES, MAX_KEY_LENGTH};

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
    #[error("{0} descriptors; at most {MAX_DESCRIPTORS} are decided together")]
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
    #[error("descriptor {descriptor}: {count} entries; send at most {MAX_ENTRIES}")]
    TooManyEntries {
        /// Position of the descriptor, from 0.
        descriptor: usize,
        /// How many there are.
        count: usize,
    },
    /// A key that nobody writes.
    #[error(
        "descriptor {descriptor}, entry {entry}: key has {bytes} bytes; send at most {MAX_KEY_LENGTH}"
    )]
    LongKey {
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
}
