//! Explains in words how a descriptor matches a policy, for `tollgate explain` and the dashboard.

use super::address;
use super::condition::Conditions;
use super::identity::KeySet;
use super::rule::Rule;
use super::table::{Miss, Table};
use super::{Explained, Policy, values};

impl Policy {
    /// Which calls share a bucket of a table: `one for each tenant and remote_address (/32 of IPv4, /64 of IPv6)`.
    pub fn scope_description(&self, table: &Table) -> String {
        let keys = self.key_set(table.key()).map(|set| self.key_names(set)).unwrap_or_default();
        if keys.is_empty() {
            "one for all calls".to_owned()
        } else {
            format!("one for each {}", keys.join(" and "))
        }
    }

    /// The keys of the entries that name a bucket, an address with the bits of it that count.
    fn key_names(&self, set: &KeySet) -> Vec<String> {
        let name = |name: &str| match name {
            address::KEY => {
                let prefixes = set.prefixes();
                format!("{name} (/{} of IPv4, /{} of IPv6)", prefixes.ipv4(), prefixes.ipv6())
            }
            values::PATH if set.has_query() => format!("{name} (with its query)"),
            name => name.to_owned(),
        };
        set.names(self.keys()).into_iter().map(name).collect()
    }

    /// Why a descriptor matches no bucket of a table.
    pub fn miss_reason(&self, miss: Miss<'_>) -> String {
        let keys = self.keys();
        match miss {
            Miss::Condition(condition) => {
                format!("does not apply: only if {}", condition.describe(keys))
            }
            Miss::NoKey(key) => {
                format!("does not apply: no entry `{}` to name the bucket", keys.name(key))
            }
            Miss::NoRow(key) => {
                format!("no row for this `{}`, and no `default`", keys.name(key))
            }
            Miss::Unlimited(row) if row.rules().is_empty() => {
                format!("row {} is unlimited", row.name())
            }
            Miss::Unlimited(row) => format!("row {} is unlimited by an override", row.name()),
        }
    }

    /// The bypass that a descriptor matches, in words.
    pub fn describe_bypass(&self, explained: &Explained<'_>) -> Option<String> {
        explained.bypass.map(|bypass: &Conditions| bypass.describe(self.keys()))
    }
}

impl Explained<'_> {
    /// The effect of all buckets together on the call.
    pub fn outcome(&self) -> String {
        let matched = || self.tables.iter().filter_map(|(_, matched)| matched.as_ref().ok());
        let buckets = |is_shadow| -> usize {
            let rows = matched().filter(|(row, _)| row.is_shadow() == is_shadow);
            rows.map(|(_, rules): &(_, &[Rule])| rules.len()).sum()
        };
        let mut enforced = matched().filter(|(row, _)| !row.is_shadow());
        let is_blocked = enforced.any(|(_, rules)| rules.iter().any(Rule::is_blocked));
        let outcome = match buckets(false) {
            _ if self.bypass.is_some() => "bypassed: no bucket is charged".to_owned(),
            _ if is_blocked => {
                "a blocked row; the call is denied, and nothing is charged".to_owned()
            }
            0 => "no bucket; the call passes".to_owned(),
            1 => "1 bucket, which must admit".to_owned(),
            more => format!("{more} buckets; all of them must admit, or none is charged"),
        };
        match buckets(true) {
            0 => outcome,
            shadow => format!("{outcome}; {shadow} in shadow"),
        }
    }
}
