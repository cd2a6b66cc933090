//! A ratelimit configuration as it is written, in a file or in a resource of a control plane. `compile` checks the
//! meaning. A text that is not written is empty, a number 0 and a flag false.

use std::fmt;

use crate::config::path::{NodePath, Position};
use crate::policy::metadata;

/// The configuration of a domain, or a part of it.
#[derive(Debug, Clone, Default)]
pub struct RateLimitConfig {
    /// The file or resource, for problems.
    pub source: String,
    /// The domain that Envoy's filter sends.
    pub domain: String,
    /// The descriptors on the first level of the tree.
    pub descriptors: Vec<Descriptor>,
    /// Where it stands.
    pub place: Place,
}

/// A node of the tree, and those below it.
#[derive(Debug, Clone, Default)]
pub struct Descriptor {
    /// The key of the entries that it takes.
    pub key: String,
    /// Their value, in which each `*` stands for any text; empty if it takes any value.
    pub value: String,
    /// Its limit, if it has one.
    pub rate_limit: Option<RateLimit>,
    /// Whether its limit denies nothing.
    pub shadow_mode: bool,
    /// Whether its limit is a quota.
    pub quota_mode: bool,
    /// Whether statistics have all keys and values of a request.
    pub detailed_metric: bool,
    /// Whether statistics have the value of a request.
    pub value_to_metric: bool,
    /// Whether all values that a `*` takes share a counter.
    pub share_threshold: bool,
    /// What an answer says of it.
    pub metadata: Option<metadata::Map>,
    /// The descriptors for the next entry.
    pub descriptors: Vec<Self>,
    /// Where it stands.
    pub place: Place,
}

/// The limit of a descriptor.
#[derive(Debug, Clone, Default)]
pub struct RateLimit {
    /// The name of a unit, in any case. In a resource, the name of its number, or the number if it has none.
    pub unit: String,
    /// The most hits in a unit.
    pub requests_per_unit: u32,
    /// Whether there is no limit.
    pub unlimited: bool,
    /// The name by which others replace it.
    pub name: String,
    /// The names of the limits that it replaces.
    pub replaces: Vec<String>,
}

/// Where a configuration or a descriptor stands: its path, and in a file the line, also of each of its fields.
#[derive(Debug, Clone, Default)]
pub struct Place {
    path: NodePath,
    /// The positions of its fields, and of those of its limit.
    fields: Vec<(&'static str, Position)>,
    /// Whether a problem was found there when it was read. What seems to be missing may then be what is wrong.
    is_faulty: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl Place {
    /// The place of the descriptor with this index in a resource. A resource itself stands at the default place.
    #[must_use]
    pub fn descriptor(&self, index: usize) -> Self {
        Self::in_file(self.path.key("descriptors", None).index(index, None))
    }

    /// A place in a file.
    pub(super) const fn in_file(path: NodePath) -> Self {
        Self { path, fields: Vec::new(), is_faulty: false }
    }

    pub(super) const fn set_faulty(&mut self, is_faulty: bool) {
        self.is_faulty = is_faulty;
    }

    pub(super) const fn is_faulty(&self) -> bool {
        self.is_faulty
    }

    /// Notes where a field stands.
    pub(super) fn add(&mut self, field: &'static str, position: Option<Position>) {
        self.fields.extend(position.map(|position| (field, position)));
    }

    pub(super) const fn path(&self) -> &NodePath {
        &self.path
    }

    /// Whether a file has the field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.position(field).is_some()
    }

    /// The path of a field. One that is not written stands where its parent does.
    pub(super) fn field(&self, field: &str) -> NodePath {
        self.path.key(field, self.position(field).or(self.path.position))
    }

    /// The path of a field of the limit.
    pub(super) fn field_of_limit(&self, field: &str) -> NodePath {
        let limit = self.field("rate_limit");
        limit.key(field, self.position(field).or(limit.position))
    }

    /// The position of a field that is written; no field of a limit has the name of one of its descriptor.
    fn position(&self, field: &str) -> Option<Position> {
        let mut fields = self.fields.iter().rev();
        fields.find(|(name, _)| *name == field).map(|(_, position)| *position)
    }
}
