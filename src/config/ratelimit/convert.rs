//! Converts ratelimit configurations to policies: the limits of a descriptor tree as tables of token buckets.
//!
//! `shape` knows which keys the descriptors of a tree have, `step` says as conditions which values lead to a node, `limit`
//! makes buckets of its limit, `tables` makes tables of the nodes, and `write` writes them. What tables cannot say is said in
//! comments.

mod limit;
mod shape;
mod step;
mod tables;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

use super::{Settings, Trees};
use crate::config::compilation::Compilation;
use crate::config::document::Document;
use crate::config::{Problems, Source};

/// The policy that a ratelimit configuration converts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The domain.
    pub domain: String,
    /// The policy file. It is valid unless the configuration has so many descriptors that the policy exceeds a bound.
    pub text: String,
    /// The limits that the policy has.
    pub limits: usize,
    /// What the policy lacks, limits and what limits say. Each has a comment that begins with `left out`.
    pub left_out: usize,
}

/// Converts texts of which each must be a ratelimit configuration; one policy for each domain, in the order in which they
/// come.
///
/// # Errors
/// All problems of all texts, and domains that two texts define, unless [`Settings::merges_domains`].
pub fn convert(sources: &[Source], settings: &Settings) -> Result<Vec<Converted>, Problems> {
    let (mut compilation, mut trees) = (Compilation::default(), Trees::new(settings));
    for source in sources {
        let document = Document::new(&source.name, crate::config::text(source));
        trees.read(&document, &mut compilation);
        compilation.close(document);
    }
    compilation.finish(|| [])?;
    Ok(trees.forest.into_trees().iter().map(write::policy).collect())
}
