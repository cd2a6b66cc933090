//! An example of the calls that a bucket limits, made from the bucket's name: the entries of its key, and for each
//! condition and for the choice of the row a value that satisfies them.
//!
//! For some conditions no value is found, as for two conditions on one entry that no tried value satisfies. The example
//! says then what is assumed of the calls that its entries do not show.

mod need;

use std::borrow::Cow;

use ipnet::IpNet;

use self::need::{Need, needs};
use super::condition::Condition;
use super::descriptor_tree::{self, Walk};
use super::entry_name::EntryName;
use super::fingerprint::Fingerprint;
use super::identity::KeyEntry;
use super::overrides::Override;
use super::rule::Rule;
use super::table::{Row, Rows, Table};
use super::values::{KeyIndex, Values};
use super::{Bases, Explained, MatchedBucket, Plan, Policy};
use crate::clock::Timestamp;
use crate::descriptor::{Descriptor, Entry, Hits};
use crate::limit::Bucket;

/// The name of a bucket.
#[derive(Debug, Clone, Copy)]
pub struct BucketPlace<'a> {
    /// The table.
    pub table: &'a str,
    /// The row; `None` if the table has only one, or if the key selects it.
    pub row: Option<&'a str>,
    /// The entries of the table's key. An address may be given as a network whose addresses share the bucket.
    pub key: &'a [Entry<'a>],
    /// The limit in words, as in `10 per second`: it distinguishes the buckets of a row from those of its overrides.
    pub limit: Option<&'a str>,
    /// The bucket's name in the store, if it is known; it is used instead of `limit`.
    pub fingerprint: Option<Fingerprint>,
}

/// An example of the calls that a bucket limits.
#[derive(Debug, Clone)]
pub struct Example<'a> {
    /// The bucket's table.
    pub table: &'a Table,
    /// The bucket's row.
    pub row: &'a Row,
    /// The buckets of the row, or of the override that has the bucket.
    pub rules: &'a [Rule],
    /// The entries of a call: those of the key, then those that conditions and the row require.
    pub entries: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// What is assumed of the call that its entries do not show, in words.
    pub assumed: Vec<String>,
}

/// Why no call has such a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchBucket {
    /// No table has this name.
    #[error("no table has this name; the tables are: {0}")]
    Table(String),
    /// No row of the table has this name.
    #[error("table {0} has no row with this name")]
    Row(String),
    /// The row is not given, and the key does not select one.
    #[error("table {table} selects its row by `{by}`; send the `row`")]
    WhichRow {
        /// The table.
        table: String,
        /// The entry that selects the row.
        by: String,
    },
    /// The key is not that of the table.
    #[error("the key of table {table} is [{key}]; send each of these entries once, and no others")]
    Key {
        /// The table.
        table: String,
        /// Its key.
        key: String,
    },
    /// The key has a network of which some addresses have another bucket than others.
    #[error("the network in the key has several buckets; send an address")]
    Network,
    /// A value of the key does not satisfy a condition, or selects another row.
    #[error("no call with this key has this bucket: {0}")]
    Never(String),
    /// The row has no bucket with this limit.
    #[error("row {0} has no bucket with this limit, and neither has an override of it")]
    Limit(String),
    /// The row, or an override for this key, is unlimited.
    #[error("row {0} is unlimited for this key")]
    Unlimited(String),
}

/// An entry of a call.
type Pair<'a> = (KeyIndex, Cow<'a, [u8]>);

/// The buckets that an example is made for.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    rules: &'a [Rule],
    /// The override that they belong to.
    by: Option<&'a Override>,
}

impl Policy {
    /// An example of the calls that the named bucket limits at `now`.
    ///
    /// # Errors
    /// If no call has such a bucket.
    pub fn example<'a>(
        &'a self,
        place: &BucketPlace<'a>,
        now: Timestamp,
    ) -> Result<Example<'a>, NoSuchBucket> {
        let table = self.tables.iter().find(|of| of.name() == place.table).ok_or_else(|| {
            let names: Vec<_> = self.tables.iter().map(Table::name).collect();
            NoSuchBucket::Table(names.join(", "))
        })?;
        let (key, network) = self.key_pairs(table, place.key)?;
        let key_values = self.read_pairs(&key);
        let row = self.named_row(table, place.row, &key_values)?;
        let chosen = self.chosen(table, row, place, &key_values, now)?;
        let of_override = chosen.and_then(|chosen| chosen.by).map(|by| &*by.when.0);
        let conditions: Vec<_> =
            table.when.0.iter().chain(of_override.unwrap_or_default()).collect();
        let pairs =
            self.filled_in(&key, network, needs(table, row, &conditions, &self.addresses))?;
        let values = self.read_pairs(&pairs);
        let chosen = chosen.unwrap_or_else(|| Chosen {
            rules: row.rules_for(&values, now),
            by: row.overrides.find(&values, now),
        });
        if chosen.rules.is_empty() {
            return Err(NoSuchBucket::Unlimited(row.label().to_owned()));
        }
        let mut assumed = self.unmet(&conditions, &values);
        if table.rows.pick(&values).is_none_or(|picked| picked.id() != row.id()) {
            assumed.push(format!("it selects row {}", row.name()));
        }
        assumed.extend(self.other_buckets(row, chosen, &values, now));
        let entries = self.as_sent(&pairs);
        Ok(Example { table, row, rules: chosen.rules, entries, assumed })
    }

    /// The entries of a key, and for each need that they do not satisfy a value that does, if one is found.
    fn filled_in<'a>(
        &self,
        key: &[Pair<'a>],
        network: Option<IpNet>,
        needs: Vec<Need<'a>>,
    ) -> Result<Vec<Pair<'a>>, NoSuchBucket> {
        let values = self.read_pairs(key);
        let mut pairs = key.to_vec();
        for need in needs.into_iter().filter(|need| !need.accepts(values.get(need.key))) {
            let Some(at) = key.iter().position(|(key, _)| *key == need.key) else {
                pairs.extend(need.value().map(|value| (need.key, value)));
                continue;
            };
            // The addresses of a network share the bucket; any other value is given.
            let network = network.filter(|of| {
                need.key == KeyIndex::REMOTE_ADDRESS && of.prefix_len() < of.max_prefix_len()
            });
            let network = network.ok_or_else(|| NoSuchBucket::Never(need.describe(&self.keys)))?;
            if let (Some(value), Some((_, known))) =
                (need.address_within(network), pairs.get_mut(at))
            {
                *known = value;
            }
        }
        Ok(pairs)
    }

    /// The entries of a key, and the network of addresses that share the bucket, if the key has an address.
    fn key_pairs<'a>(
        &'a self,
        table: &Table,
        given: &[Entry<'a>],
    ) -> Result<(Vec<Pair<'a>>, Option<IpNet>), NoSuchBucket> {
        let set = self.key_set(table.key);
        let wrong = || {
            let key = set.map(|set| set.names(&self.keys)).unwrap_or_default().join(", ");
            NoSuchBucket::Key { table: table.name().to_owned(), key }
        };
        let set = set.ok_or_else(wrong)?;
        if given.len() != set.entries.len() {
            return Err(wrong());
        }
        let mut network = None;
        let pair = |KeyEntry { index, .. }: &KeyEntry| {
            let name = self.keys.name(*index);
            let entry = given.iter().find(|entry| entry.key == *name).ok_or_else(wrong)?;
            let mut value = entry.value;
            if *index == KeyIndex::REMOTE_ADDRESS
                && let Some(of_value) = self.addresses.read_network(value)
            {
                if !set.prefixes.is_one_client(of_value) {
                    return Err(NoSuchBucket::Network);
                }
                let shown = set.prefixes.network(of_value.addr());
                network = self.addresses.read_network(shown.as_bytes());
                let end = memchr::memchr(b'/', value).and_then(|end| value.get(..end));
                value = end.unwrap_or(value);
            }
            Ok((*index, Cow::Borrowed(value)))
        };
        let pairs = set.entries.iter().map(pair).collect::<Result<_, _>>()?;
        Ok((pairs, network))
    }

    /// The values of entries, with the endpoint group of their method and path.
    fn read_pairs<'s>(&'s self, pairs: &'s [Pair<'_>]) -> Values<'s> {
        let mut values = self.read(&[]);
        pairs.iter().for_each(|(key, value)| values.set(*key, value));
        self.resolve_group(&mut values);
        values
    }

    /// The entries as a call sends them: the second with the key `a`, which the policy names `a[1]`, comes after another
    /// one, which is made up if nothing is known of it.
    fn as_sent<'a>(&'a self, pairs: &[Pair<'a>]) -> Vec<(&'a str, Cow<'a, [u8]>)> {
        let named = |key| {
            let name = self.keys.name(key);
            EntryName::parse(name).unwrap_or(EntryName { key: name, number: 0 })
        };
        let mut sent: Vec<(&str, Cow<'_, [u8]>)> = Vec::new();
        for (at, (key, _)) in pairs.iter().enumerate() {
            let EntryName { key, .. } = named(*key);
            let is_of_key = |(index, _): &&Pair<'_>| named(*index).key == key;
            if pairs.iter().take(at).any(|pair| is_of_key(&pair)) {
                continue;
            }
            let of_key: Vec<_> = pairs.iter().filter(is_of_key).collect();
            let last = of_key.iter().map(|(index, _)| named(*index).number).max();
            sent.extend((0..=last.unwrap_or(0)).map(|number| {
                let known = of_key.iter().find(|(index, _)| named(*index).number == number);
                (key, known.map_or(Cow::Borrowed(&b""[..]), |(_, value)| value.clone()))
            }));
        }
        sent
    }

    fn named_row<'a>(
        &'a self,
        table: &'a Table,
        name: Option<&str>,
        values: &Values<'_>,
    ) -> Result<&'a Row, NoSuchBucket> {
        let found = match (&table.rows, name) {
            (rows, Some(name)) => rows.row(name),
            (Rows::Selected { by, .. }, None) if values.get(*by).is_none() => {
                let (table, by) = (table.name().to_owned(), self.keys.name(*by).to_owned());
                return Err(NoSuchBucket::WhichRow { table, by });
            }
            (rows, None) => rows.pick(values),
        };
        found.ok_or_else(|| NoSuchBucket::Row(table.name().to_owned()))
    }

    /// The buckets of the row, or of one of its overrides, that have the wanted limit or name; none if any will do.
    fn chosen<'a>(
        &self,
        table: &Table,
        row: &'a Row,
        place: &BucketPlace<'_>,
        values: &Values<'_>,
        now: Timestamp,
    ) -> Result<Option<Chosen<'a>>, NoSuchBucket> {
        if place.limit.is_none() && place.fingerprint.is_none() {
            return Ok(None);
        }
        let base = self.key_set(table.key).and_then(|set| set.base(self.key, values).ok());
        let is_wanted = |rule: &Rule| match place.fingerprint {
            Some(name) => base.is_some_and(|base| base.salted(rule.salt) == name),
            None => place.limit.is_some_and(|limit| rule.bucket.to_string() == limit),
        };
        let of = |by: &'a Override| Chosen { rules: &by.rules, by: Some(by) };
        let applied = row.overrides.find(values, now).map(of);
        let own = Chosen { rules: &row.rules, by: None };
        let others = row.overrides().iter().filter(|by| {
            place.fingerprint.is_some()
                || (by.until.is_none_or(|until| now < until) && by.when.could_match(values))
        });
        let mut all = applied.into_iter().chain([own]).chain(others.map(of));
        let found = all.find(|chosen| chosen.rules.iter().any(is_wanted));
        found.map(Some).ok_or_else(|| NoSuchBucket::Limit(row.label().to_owned()))
    }

    /// The conditions that these values do not satisfy, in words.
    fn unmet(&self, conditions: &[&Condition], values: &Values<'_>) -> Vec<String> {
        let unmet = conditions.iter().filter(|condition| !condition.matches(values));
        unmet.map(|condition| condition.describe(&self.keys)).collect()
    }

    /// Why a call with these values has other buckets of the row, or is not limited, in words.
    fn other_buckets(
        &self,
        row: &Row,
        Chosen { rules, by }: Chosen<'_>,
        values: &Values<'_>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut all = Vec::new();
        let applied = row.overrides.find(values, now);
        if by.is_some_and(|by| by.until.is_some_and(|until| until <= now)) {
            all.push("the override that has the bucket has not ended".to_owned());
        } else if !std::ptr::eq(row.rules_for(values, now), rules)
            && let Some(applied) = applied
        {
            let when = applied.when.describe(&self.keys);
            all.push(format!("it is not one of the calls of the override for {when}"));
        }
        if let Some(bypass) = self.bypass.iter().find(|bypass| bypass.all_match(values)) {
            all.push(format!("it is not bypassed, although {}", bypass.describe(&self.keys)));
        }
        all
    }

    /// How a descriptor with the entries of an example matches the policy, on what the example assumes: its table has
    /// its buckets, and no bypass applies.
    pub fn explain_example<'a>(
        &'a self,
        example: &Example<'a>,
        descriptor: Descriptor<'a>,
        now: Timestamp,
    ) -> (Explained<'a>, Plan<'a>) {
        let mut explained = self.explain(descriptor, now);
        explained.bypass = None;
        let own =
            explained.tables.iter_mut().find(|(table, _)| std::ptr::eq(*table, example.table));
        if let Some((_, matched)) = own {
            *matched = Ok((example.row, example.rules));
        }
        let values = self.read(descriptor.entries());
        let mut bases = Bases::new(self);
        let mut plan = Plan { is_matched: true, ..Plan::default() };
        for (table, matched) in &explained.tables {
            let (Ok((row, rules)), Ok(base)) = (matched, bases.base(table.key, &values)) else {
                continue;
            };
            plan.matched.extend(rules.iter().map(|rule| MatchedBucket {
                descriptor: 0,
                row,
                bucket: &rule.bucket,
                rule: Some(rule),
                fingerprint: base.salted(rule.salt),
                hits: descriptor.hits(),
                debt: row.debt,
            }));
        }
        (explained, plan)
    }

    /// Whether this is the table name under which limit overrides from Envoy are reported.
    pub fn is_limit_override(&self, table: &str) -> bool {
        self.limit_override.table() == table
    }

    /// As [`Self::explain_example`], of one bucket alone, for which no example can be made: its key is not known in
    /// full, or it is that of a limit override from Envoy. `None` if the policy has no such bucket any more.
    pub fn explain_bucket<'a>(
        &'a self,
        [table, row]: [&str; 2],
        bucket: &'a Bucket,
        fingerprint: Fingerprint,
    ) -> Option<(Explained<'a>, Plan<'a>)> {
        let hits = Hits::ONE;
        let mut walk = None;
        let found = self.tables.iter().find(|of| of.name() == table);
        let (tables, matched) = match found {
            Some(found) => {
                let row = found.rows.row(row)?;
                let of_overrides = row.overrides().iter().flat_map(|by| by.rules.iter());
                let mut all = row.rules.iter().chain(of_overrides);
                let rule = all.find(|rule| rule.bucket == *bucket)?;
                let (bucket, of_it) = (&rule.bucket, std::slice::from_ref(rule));
                let rule = Some(rule);
                let debt = row.debt;
                let matched =
                    MatchedBucket { descriptor: 0, row, bucket, rule, fingerprint, hits, debt };
                (vec![(found, Ok((row, of_it)))], matched)
            }
            None if table == descriptor_tree::TABLE && self.is_tree() => {
                let row = self.tree()?.row(row)?;
                let rule = row.rules.iter().find(|rule| rule.bucket == *bucket)?;
                let end = Ok(row);
                walk = Some(Walk { steps: Vec::new(), end, is_overridden: false });
                let (bucket, rule, debt) = (&rule.bucket, Some(rule), None);
                let matched =
                    MatchedBucket { descriptor: 0, row, bucket, rule, fingerprint, hits, debt };
                (Vec::new(), matched)
            }
            None if table == self.limit_override.table() => {
                let row = &self.limit_override;
                let (rule, debt) = (None, None);
                let matched =
                    MatchedBucket { descriptor: 0, row, bucket, rule, fingerprint, hits, debt };
                (Vec::new(), matched)
            }
            None => return None,
        };
        let mut plan = Plan { is_matched: true, ..Plan::default() };
        plan.matched.push(matched);
        let entries = Vec::new();
        Some((Explained { entries, group: None, bypass: None, tables, walk }, plan))
    }
}
