//! The tree that a configuration compiles to, before its parts have numbers and names in the store.

use crate::limit::{Counting, Window};
use crate::policy::metadata;

/// The tree of a domain.
#[derive(Debug, PartialEq)]
pub(crate) struct NewTree {
    pub(crate) domain: String,
    /// The nodes for the first entry of a descriptor, in the order of the file.
    pub(crate) nodes: Vec<NewNode>,
}

/// A node, and those for the next entry. No two children of one parent have the same key and value.
#[derive(Debug, PartialEq)]
pub(crate) struct NewNode {
    /// Not empty.
    pub(crate) key: String,
    pub(crate) value: NodeValue,
    pub(crate) limit: Option<NewLimit>,
    /// Whether statistics have the value of the request in place of that of the node.
    pub(crate) value_to_metric: bool,
    pub(crate) children: Vec<NewNode>,
}

/// The values of an entry to which a node applies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NodeValue {
    /// Any, also none.
    Any,
    /// One value, not empty and without `*`.
    Exact(String),
    /// Those that match a text with at least one `*`.
    Pattern {
        text: String,
        /// Whether all of them share one count.
        is_shared: bool,
    },
}

/// What a node says of the descriptors whose last entry it is for.
#[derive(Debug, PartialEq)]
pub(crate) struct NewLimit {
    /// None if they are unlimited.
    pub(crate) window: Option<Window>,
    /// The name that statuses have, and by which other limits replace it; may be empty.
    pub(crate) name: String,
    /// The names of the limits that it replaces.
    pub(crate) replaces: Vec<String>,
    pub(crate) shadow: bool,
    pub(crate) quota: bool,
    /// Whether statistics have all values of the request.
    pub(crate) detailed_metric: bool,
    pub(crate) metadata: Option<metadata::Map>,
}

/// Settings of the deployment that a configuration does not have. The default is that of envoyproxy/ratelimit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSettings {
    /// The names of the response headers with the limit, what remains of it and the seconds until its window ends; none
    /// if they are not sent.
    pub headers: Option<[Box<str>; 3]>,
    /// Whether no request is denied.
    pub is_shadow: bool,
    /// Whether every descriptor counts as a quota.
    pub is_quota: bool,
    /// Whether answers have dynamic metadata that tell of the request and of the limits that admit it.
    pub has_metadata: bool,
    /// What is counted if a limit is exceeded.
    pub counting: Counting,
}

impl Default for TreeSettings {
    fn default() -> Self {
        Self {
            headers: None,
            is_shadow: false,
            is_quota: false,
            has_metadata: false,
            counting: Counting::Each,
        }
    }
}
