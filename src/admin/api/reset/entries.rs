//! Refills the token buckets that entries name, in every table: those of one customer.
//!
//! A bucket is kept under a hash of its key, so that only buckets whose whole key is given can be found in a store. Of
//! the others, this process knows the names of those that were recently near their limit.

use hashbrown::HashSet;

use super::super::buckets::{self, Ids, MAX_EXAMINED};
use super::super::types::{self, IncompleteTable, KeyEntry, Reset, ResetRequest, ResetTable};
use super::{answer, can_be_refilled};
use crate::admin::ApiError;
use crate::descriptor::Entry;
use crate::limit::Bucket;
use crate::observe::bucket_label::EntryFilter;
use crate::observe::recent_buckets::BucketSnapshot;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::lookup::{NamedBucket, PartlyNamed};
use crate::policy::table::{Row, Table};
use crate::service::{Inspected, Service};

/// Refills every token bucket that the entries name, and every recent one that they name in part.
pub(super) async fn refill(
    service: &Service,
    request: &ResetRequest,
    key: &[KeyEntry],
) -> Result<Reset, ApiError> {
    let ResetRequest { domain, row, bucket, .. } = request;
    let is_meant = |name: &str, limit: &Bucket| {
        row.as_ref().is_none_or(|row| *row == *name)
            && bucket.as_ref().is_none_or(|bucket| limit.to_string() == *bucket)
    };
    let entries: Vec<_> = key.iter().map(buckets::entry).collect();
    let snapshot = service.policies().load_full();
    let policy = buckets::policy(&snapshot, domain.as_deref())?;
    buckets::check(policy, &entries)?;
    check_keys(policy, &entries)?;
    let mut named = policy.buckets_for(&entries, service.wall_now());
    // A bucket that all calls share is not named by the entries.
    named.retain(|of| !of.key.is_empty() && is_meant(of.row.name(), of.bucket()));
    let slots = tables_with_slots(&named);
    named.retain(|of| can_be_refilled(of.bucket()));
    let mut incomplete = policy.partly_named(&entries);
    incomplete.retain(|of| has_tokens(of.table));
    let mut seen = partly_named_buckets(service, policy, &entries, &named);
    seen.retain(|seen| is_meant(&seen.label.row, &seen.bucket));
    if named.is_empty() && seen.is_empty() && incomplete.is_empty() {
        return Err(ApiError::not_found(no_bucket(policy, !slots.is_empty())));
    }
    if named.len() > MAX_EXAMINED {
        return Err(ApiError::bad_request(format!(
            "the entries name over {MAX_EXAMINED} buckets; send a `table` as well"
        )));
    }
    let filled = fill(service, policy, &named, seen).await?;
    tracing::info!(
        domain = policy.domain(),
        tables = filled.tables.len(),
        buckets = filled.count,
        "buckets refilled by a request"
    );
    let incomplete = incomplete.into_iter().map(|PartlyNamed { table, missing }| IncompleteTable {
        table: table.name().to_owned(),
        missing: missing.into_iter().map(str::to_owned).collect(),
    });
    let incomplete = incomplete.collect();
    Ok(Reset { incomplete, slots, ..answer(filled.charged, filled.tables) })
}

/// Rejects entries that the policy does not use: a misspelled one would widen what is reset.
fn check_keys(policy: &Policy, entries: &[Entry<'_>]) -> Result<(), ApiError> {
    let is_unknown =
        |entry: &&Entry<'_>| !policy.keys().names().any(|name| name == entry.key.as_str());
    entries.iter().find(is_unknown).map_or(Ok(()), |entry| {
        let key = entry.key.as_str();
        Err(ApiError::not_found(format!(
            "the policy does not ask about `{}`; correct it, or leave it out",
            key.escape_debug()
        )))
    })
}

/// The tables in which the entries name slots, in the order of the policy.
fn tables_with_slots(named: &[NamedBucket<'_>]) -> Vec<String> {
    let slots = named.iter().filter(|of| matches!(of.bucket(), Bucket::Concurrency(_)));
    let mut tables: Vec<String> = slots.map(|of| of.row.table().to_owned()).collect();
    tables.dedup();
    tables
}

fn has_tokens(table: &Table) -> bool {
    let rules = |row: &Row| {
        let own = row.rules().iter().any(|rule| can_be_refilled(rule.bucket()));
        own || row
            .overrides()
            .iter()
            .flat_map(|of| of.rules())
            .any(|rule| can_be_refilled(rule.bucket()))
    };
    table.rows().iter().any(rules)
}

/// The recent token buckets that have one of the entries in their key, and no other value for any of them.
fn partly_named_buckets(
    service: &Service,
    policy: &Policy,
    entries: &[Entry<'_>],
    named: &[NamedBucket<'_>],
) -> Vec<BucketSnapshot> {
    let known: HashSet<Fingerprint> = named.iter().map(|of| of.fingerprint).collect();
    let filter = EntryFilter::new(entries, policy.addresses());
    let mut seen = service.recent_buckets();
    seen.retain(|seen| {
        *seen.label.domain == *policy.domain()
            && can_be_refilled(&seen.bucket)
            && seen.label.matches(&filter)
            && !known.contains(&seen.fingerprint)
    });
    // With the limits that the policy in force has.
    seen.iter().filter_map(|seen| service.recent_bucket(seen.fingerprint)).collect()
}

/// What was refilled.
#[derive(Default)]
struct Filled {
    /// The buckets that were not full, with their state before.
    charged: Vec<types::Bucket>,
    /// The number of all buckets.
    count: usize,
    /// The numbers of each table.
    tables: Vec<ResetTable>,
}

impl Filled {
    fn add(&mut self, table: &str, charged: Option<types::Bucket>) {
        self.count += 1;
        let at = self.tables.iter().position(|of| of.table == table).unwrap_or_else(|| {
            self.tables.push(ResetTable::of(table, &[], 0));
            self.tables.len() - 1
        });
        if let Some(of) = self.tables.get_mut(at) {
            match charged {
                Some(_) => of.reset += 1,
                None => of.already_full += 1,
            }
        }
        self.charged.extend(charged);
    }
}

async fn fill(
    service: &Service,
    policy: &Policy,
    named: &[NamedBucket<'_>],
    seen: Vec<BucketSnapshot>,
) -> Result<Filled, ApiError> {
    let by_name = named.iter().map(Inspected::from);
    let all: Vec<_> = by_name.chain(seen.iter().map(Inspected::from)).collect();
    let peeked = service.peek_many(&all).await;
    let (outcomes, reading) = peeked.map_err(|error| ApiError::store(&error))?;
    service.refill(&all).await.map_err(|error| ApiError::store(&error))?;
    let mut filled = Filled::default();
    let (of_named, of_seen) = outcomes.split_at_checked(named.len()).unwrap_or((&outcomes, &[]));
    for (of, outcome) in named.iter().zip(of_named) {
        let was_charged = outcome.remaining < of.bucket().size();
        let charged =
            was_charged.then(|| buckets::from_named(policy, of, outcome, &reading, Ids::Hidden));
        filled.add(of.row.table(), charged);
    }
    for (seen, outcome) in seen.into_iter().zip(of_seen) {
        let was_charged = outcome.remaining < seen.bucket.size();
        let seen = BucketSnapshot { outcome: *outcome, ..seen };
        let charged = was_charged
            .then(|| buckets::from_snapshot(&seen, reading.at, &reading.unspent, Ids::Hidden));
        filled.add(&seen.label.table, charged);
    }
    Ok(filled)
}

fn no_bucket(policy: &Policy, has_slots: bool) -> String {
    if has_slots {
        return super::SLOTS.to_owned();
    }
    if policy.is_tree() {
        return super::NO_LIMIT.to_owned();
    }
    let mut keys: Vec<&str> = Vec::new();
    for table in policy.tables() {
        let set = policy.key_set(table.key());
        let names = set.map(|set| set.names(policy.keys())).unwrap_or_default();
        let new: Vec<_> = names.into_iter().filter(|name| !keys.contains(name)).collect();
        keys.extend(new);
    }
    format!(
        "no table that calls with these entries match has one of them in its `key`; the keys of the tables \
         have: {}",
        keys.join(", ")
    )
}
