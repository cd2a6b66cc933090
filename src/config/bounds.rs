//! Bounds of a policy. A file beyond one of them is rejected, so that reading it cannot exhaust the memory of a
//! container: the process must survive, with the previous policy in force.

/// Bytes of one file.
pub(super) const MAX_BYTES: u64 = 4 << 20;

/// Bytes of all files of a folder together.
pub(super) const MAX_TOTAL_BYTES: u64 = 16 << 20;

/// Files of a folder.
pub(super) const MAX_FILES: usize = 1_000;

/// Keys, scalars, lists and mappings of one file, with aliases and merges expanded.
pub(super) const MAX_VALUES: usize = 500_000;

/// Bytes of all keys and scalars of one file, with aliases expanded.
pub(super) const MAX_TEXT: usize = 8 << 20;

/// Nesting of lists and mappings. A policy needs eight levels, a mapping five.
pub(super) const MAX_LEVELS: usize = 32;

/// Bytes of one key or scalar.
pub(super) const MAX_TEXT_LENGTH: usize = 64 << 10;

/// Problems reported for one file.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Bytes of all compiled policies. An override without `row` is kept once for each row, and a message once for each
/// bucket.
pub(super) const MAX_COMPILED_BYTES: usize = 64 << 20;
