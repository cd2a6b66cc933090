//! How much a policy may say. A file that says more is refused for that alone: what it would take to read it,
//! a container may not have, and the policy before shall stay in force rather than the process be killed.

/// Bytes of one file.
pub(super) const MAX_BYTES: u64 = 4 << 20;

/// Bytes of all files of a folder together.
pub(super) const MAX_TOTAL_BYTES: u64 = 16 << 20;

/// Files of a folder.
pub(super) const MAX_FILES: usize = 1_000;

/// Keys, words, lists and mappings of one file, with every alias and merge written out.
pub(super) const MAX_VALUES: usize = 500_000;

/// Bytes of its keys and words, with every alias written out.
pub(super) const MAX_TEXT: usize = 8 << 20;

/// Lists and mappings within each other. A policy needs eight.
pub(super) const MAX_LEVELS: usize = 32;

/// Bytes of one key or word: what no call can say need not be asked about.
pub(super) const MAX_TEXT_LENGTH: usize = 64 << 10;

/// Problems that are told of one file.
pub(super) const MAX_PROBLEMS: usize = 100;

/// What the policies of all files may take once they are compiled, in bytes: an override without `row`, or a
/// message, is kept once for each bucket.
pub(super) const MAX_COMPILED_BYTES: usize = 64 << 20;
