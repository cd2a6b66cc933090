//! Divides requests into parts that share no bucket, so that several threads decide them with the result of one.
//!
//! If the keys of all tables have an entry in common, such as the tenant, requests with different values of it meet no
//! bucket in common.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::batch::PARTS;
use crate::mapping::{Mapping, Requests};
use crate::policy::Policy;

/// How requests are divided.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// The entry that the keys of all tables have; without one, all requests are of one part.
    key: Option<Box<str>>,
}

impl Parts {
    /// Those that policies and a mapping allow.
    pub(super) fn new<'p>(
        policies: impl IntoIterator<Item = &'p Policy>,
        mapping: &Mapping,
    ) -> Self {
        if mapping.descriptor_count() > 1 {
            // They may have different values of the entry.
            return Self::default();
        }
        let mut common: Option<Vec<&str>> = None;
        for policy in policies {
            if policy.is_tree() {
                return Self::default();
            }
            for table in policy.tables() {
                let set = policy.key_set(table.key());
                let names = set.map(|set| set.plain_names(policy.keys())).unwrap_or_default();
                match &mut common {
                    Some(common) => common.retain(|name| names.contains(name)),
                    None => common = Some(names),
                }
            }
        }
        Self { key: common.and_then(|names| names.into_iter().next()).map(Into::into) }
    }

    /// The entry by which requests are divided.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The part of the request that was added last.
    pub(super) fn of_last(&self, requests: &Requests, mapping: &Mapping) -> u8 {
        let Some(key) = &self.key else { return 0 };
        let mut hasher = SipHasher13::new();
        hasher.write(requests.last_value(mapping, key).unwrap_or_default());
        let [lowest, ..] = hasher.finish().to_le_bytes();
        lowest % PARTS
    }
}
