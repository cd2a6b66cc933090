//! Trees for tests.

use super::{NewLimit, NewNode, NewTree, NodeValue, TreeSettings, build_tree};
use crate::limit::{Unit, Window};
use crate::policy::Policy;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::metadata::Map;

/// A node for a key and a value: none for "", a pattern if it has a `*`.
pub(crate) fn node(key: &str, value: &str) -> NewNode {
    let text = value.to_owned();
    let value = match value {
        "" => NodeValue::Any,
        _ if value.contains('*') => NodeValue::Pattern { text, is_shared: false },
        _ => NodeValue::Exact(text),
    };
    NewNode { key: key.into(), value, limit: None, value_to_metric: false, children: vec![] }
}

/// The key of the names of buckets.
pub(crate) const KEY: FingerprintKey = FingerprintKey::fixed(7);

/// The policy of a domain `d`.
pub(crate) fn policy(nodes: Vec<NewNode>, settings: &TreeSettings) -> Policy {
    build_tree(NewTree { domain: "d".into(), nodes }, KEY, settings)
}

impl NewNode {
    pub(crate) fn with(self, children: impl IntoIterator<Item = Self>) -> Self {
        Self { children: children.into_iter().collect(), ..self }
    }

    pub(crate) fn limited(self, requests: u32, unit: Unit) -> Self {
        self.limit(|limit| limit.window = Some(Window::new(requests, unit)))
    }

    pub(crate) fn per_minute(self, requests: u32) -> Self {
        self.limited(requests, Unit::Minute)
    }

    pub(crate) fn unlimited(self) -> Self {
        self.limit(|limit| limit.window = None)
    }

    pub(crate) fn named(self, name: &str) -> Self {
        self.limit(|limit| limit.name = name.into())
    }

    pub(crate) fn replacing(self, names: &[&str]) -> Self {
        self.limit(|limit| limit.replaces = names.iter().map(|name| (*name).into()).collect())
    }

    pub(crate) fn in_shadow(self) -> Self {
        self.limit(|limit| limit.shadow = true)
    }

    pub(crate) fn into_quota(self) -> Self {
        self.limit(|limit| limit.quota = true)
    }

    pub(crate) fn detailed(self) -> Self {
        self.limit(|limit| limit.detailed_metric = true)
    }

    pub(crate) fn value_to_metric(self) -> Self {
        Self { value_to_metric: true, ..self }
    }

    pub(crate) fn with_metadata(self, map: Map) -> Self {
        self.limit(|limit| limit.metadata = Some(map))
    }

    pub(crate) fn shared(mut self) -> Self {
        if let NodeValue::Pattern { is_shared, .. } = &mut self.value {
            *is_shared = true;
        }
        self
    }

    fn limit(mut self, change: impl FnOnce(&mut NewLimit)) -> Self {
        change(self.limit.get_or_insert_with(|| NewLimit {
            window: None,
            name: String::new(),
            replaces: Vec::new(),
            shadow: false,
            quota: false,
            detailed_metric: false,
            metadata: None,
        }));
        self
    }
}
