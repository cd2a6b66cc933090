//! The entries whose values identify the buckets of a table.

use super::super::document::Located;
use super::super::path::shown;
use super::super::schema;
use super::Compiler;
use crate::descriptor;
use crate::policy::address::{self, Prefixes};
use crate::policy::paths::PathInKey;
use crate::policy::table::KeySetId;

/// Entries that a policy names as paths: each entry of each key is compared with all of them.
pub(super) const MAX_PATH_ENTRIES: usize = 16;

impl Compiler<'_> {
    pub(super) fn key_set(&mut self, table: &schema::Table) -> KeySetId {
        let key: Vec<&str> = self.key_entries(table).iter().map(|name| &*name.value).collect();
        let prefixes = self.prefixes(table, key.contains(&address::KEY));
        let path = self.path_in_key(table, &key);
        self.builder.key_set(&key, prefixes, path)
    }

    /// How much of paths counts, if the table says so of an entry that is one.
    fn path_in_key(&self, table: &schema::Table, key: &[&str]) -> PathInKey {
        let Some(Located { value, path }) = &table.key_path else { return PathInKey::default() };
        let selects_by_path = self.selecting_path(table).is_some();
        let has_path = key.iter().any(|name| self.builder.is_path(name));
        if !has_path && !selects_by_path && table.key.is_some() {
            let what = "`key_path` applies to paths, and no entry of this table's `key` or `select` is one; \
                        `paths: { entries: [..] }` says which entries are";
            self.document.report(path, what);
        }
        *value
    }

    /// How much of the selecting entry counts, if it is a path.
    pub(super) fn selecting_path(&self, table: &schema::Table) -> Option<PathInKey> {
        let is_path = self.builder.is_path(&table.select.as_ref()?.value);
        is_path.then(|| table.key_path.as_ref().map_or_else(PathInKey::default, |path| path.value))
    }

    /// Reports entries that are named as paths, but have no effect.
    pub(super) fn check_path_entries(&self, file: &schema::File) {
        let Some(listed) = &file.paths.entries else { return };
        if let Some(Located { path, .. }) = listed.get(MAX_PATH_ENTRIES) {
            let what = format!("at most {MAX_PATH_ENTRIES} entries are paths; shorten the list");
            self.document.report(path, what);
        }
        let used = |name: &str| {
            let mut entries = file.tables.iter().flat_map(|table| {
                table.key.iter().flatten().chain(&table.select).map(|entry| &entry.value)
            });
            entries.any(|entry| entry.eq_ignore_ascii_case(name))
        };
        for Located { value, path } in listed.iter().take(MAX_PATH_ENTRIES) {
            if value.eq_ignore_ascii_case(address::KEY) {
                self.document
                    .report(path, "`remote_address` is an address, and no path; leave it out");
            } else if !used(value) {
                let what = format!(
                    "no table has `{}` in its `key` or as its `select`; leave it out, or name an entry that \
                     one has",
                    shown(value)
                );
                self.document.report(path, what);
            }
        }
    }

    /// The entries of the key, as many as a descriptor may have.
    fn key_entries<'s>(&self, table: &'s schema::Table) -> &'s [Located<String>] {
        let key = table.key.as_deref().unwrap_or_default();
        let (key, beyond) = key.split_at_checked(descriptor::MAX_ENTRIES).unwrap_or((key, &[]));
        if let Some(Located { path, .. }) = beyond.first() {
            let max = descriptor::MAX_ENTRIES;
            let what = format!("a descriptor has at most {max} entries; shorten the key");
            self.document.report(path, what);
        }
        for (at, Located { value, path }) in key.iter().enumerate() {
            if key.iter().take(at).any(|other| other.value == *value) {
                let what = "this entry is already in the key; remove one of the two";
                self.document.report(path, what);
            }
        }
        key
    }

    /// Reports a partition that no table has in its key.
    pub(super) fn check_partition(&self, file: &schema::File) {
        if let Some(Located { value, path }) = &file.partition
            && !self.builder.is_partitioned()
        {
            let what =
                format!("no table has `{}` in its `key`; name an entry of a key", shown(value));
            self.document.report(path, what);
        }
    }

    fn prefixes(&self, table: &schema::Table, has_address: bool) -> Prefixes {
        let usual = Prefixes::default();
        let Some(schema::Prefix { path, ipv4, ipv6 }) = &table.prefix else { return usual };
        if !has_address && table.key.is_some() {
            let what = "`prefix` applies to `remote_address`, which is not in this table's `key`";
            self.document.report(path, what);
        }
        let ipv4 = self.bits(ipv4.as_ref(), usual.ipv4(), 32);
        let ipv6 = self.bits(ipv6.as_ref(), usual.ipv6(), 128);
        Prefixes::new(ipv4, ipv6).unwrap_or(usual)
    }

    fn bits(&self, bits: Option<&Located<u32>>, default: u8, max: u8) -> u8 {
        let Some(Located { value, path }) = bits else { return default };
        let valid = u8::try_from(*value).ok().filter(|bits| (1..=max).contains(bits));
        valid.unwrap_or_else(|| {
            let what = format!("a prefix of such an address has 1 to {max} bits, not {value}");
            self.document.report(path, what);
            default
        })
    }
}
