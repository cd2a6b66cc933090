//! Buffers that are used again for each line.

use regex::bytes::CaptureLocations;

use super::token::Claims;
use super::{Counts, Mapping};

/// What a thread needs to map lines: buffers, and counts of what it has read.
#[derive(Debug)]
pub struct Scratch {
    /// The payload of a token.
    pub(super) payload: Vec<u8>,
    pub(super) claims: Claims,
    /// Of each regular expression, where its groups are.
    pub(super) locations: Vec<CaptureLocations>,
    pub(super) counts: Counts,
}

impl Scratch {
    /// What has been read with it.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Mapping {
    /// A scratch for a thread that maps lines.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            payload: Vec::new(),
            claims: Claims::new(self.claims),
            locations: self.patterns.iter().map(|pattern| pattern.capture_locations()).collect(),
            counts: Counts::new(self.fields.len(), self.keys.len()),
        }
    }
}
