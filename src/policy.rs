//! The compiled policy: finds the buckets that a descriptor matches, and names each of them.
//!
//! Nothing here knows YAML or protobuf. A [`Policy`] is valid, since `config` has checked it, and immutable: a reload
//! replaces it.

pub mod address;
pub(crate) mod builder;
pub mod condition;
pub mod denial;
mod describe;
pub mod descriptor_tree;
pub mod endpoints;
pub mod entry_name;
pub mod example;
pub mod fingerprint;
pub mod identity;
pub mod lookup;
pub mod message;
pub mod metadata;
pub mod name_map;
pub mod overrides;
pub mod paths;
mod recorded_limits;
pub mod rule;
pub mod store_prepaid;
mod succession;
pub mod table;
pub mod values;

use hashbrown::HashMap;
use smallvec::SmallVec;

pub use self::describe::{Explained, TableMatch};
pub use self::recorded_limits::{RecordedLimits, longest_owed, recorded_history};
pub use self::store_prepaid::StorePrepaid;
pub use self::succession::LimitHistory;

use self::address::Addresses;
use self::condition::Conditions;
use self::denial::DenialBody;
use self::descriptor_tree::DescriptorTree;
use self::endpoints::Endpoints;
use self::fingerprint::{Fingerprint, FingerprintKey};
use self::identity::{Base, KeySet, Salt};
use self::rule::Rule;
use self::table::{KeySetId, Miss, Row, Table};
use self::values::{KeyIndex, Keys, Values};
use crate::clock::Timestamp;
use crate::descriptor::{BadRequest, BroughtLimit, Descriptor, Entry, Hits, LeaseId, Query};
use crate::limit::{Bucket, Counting, Debt};

/// Which response headers report the remaining limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// `x-ratelimit-limit`, `-remaining` and `-reset`, the reset in seconds since the Unix epoch.
    #[default]
    Epoch,
    /// As [`Self::Epoch`], with the reset in seconds from now.
    Delta,
    /// `ratelimit` and `ratelimit-policy` of draft-ietf-httpapi-ratelimit-headers-11.
    Ietf,
    /// None; a denial still has `retry-after`.
    Off,
}

/// What happens to a request while the shared store does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// The request is allowed.
    Allow,
    /// The request is denied.
    Deny,
    /// The call fails, and Envoy decides by its `failure_mode_deny`.
    Fail,
    /// The request is decided in this process's memory, with each bucket divided by the number of replicas.
    #[default]
    Local,
}

/// Every policy in force, by domain.
#[derive(Debug, Default)]
pub struct Policies {
    by_domain: HashMap<Box<str>, Policy>,
}

impl Policies {
    /// Collects policies. Of several with the same domain, the last is kept.
    pub(crate) fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        Self {
            by_domain: policies.into_iter().map(|policy| (policy.domain.clone(), policy)).collect(),
        }
    }

    /// The policy of a domain.
    pub fn get(&self, domain: &str) -> Option<&Policy> {
        self.by_domain.get(domain)
    }

    /// Every policy, in no order.
    pub(crate) fn into_policies(self) -> impl Iterator<Item = Policy> {
        self.by_domain.into_values()
    }

    /// Every policy, ordered by domain.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        let mut policies: Vec<_> = self.by_domain.values().collect();
        policies.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        policies.into_iter()
    }
}

/// One domain's policy.
///
/// ```
/// use tollgate::clock::Timestamp;
/// use tollgate::config::{self, Source};
/// use tollgate::descriptor::{Hits, Query};
/// use tollgate::policy::fingerprint::FingerprintKey;
///
/// let text = "domain: shop\ntables: [{ name: users, key: [user], rows: { all: [{ per_second: 2 }] } }]";
/// let source = Source { name: "shop.yaml".into(), text: text.into() };
/// let policies = config::compile(&[source], FingerprintKey::random()?)?;
/// let policy = policies.get("shop").ok_or("no such domain")?;
///
/// let mut query = Query::default();
/// query.begin("shop", 1)?;
/// query.entry("user", "ann");
/// query.close(Hits::ONE, None)?;
/// let plan = policy.resolve(&query, Timestamp::default());
/// let matched: Vec<_> = plan.matched.iter().map(|found| found.bucket.to_string()).collect();
/// assert_eq!(matched, ["2 per second"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Policy {
    domain: Box<str>,
    headers: HeaderStyle,
    on_store_error: OnStoreError,
    store_prepaid: StorePrepaid,
    denial_body: DenialBody,
    partition: Box<str>,
    addresses: Addresses,
    keys: Keys,
    endpoints: Endpoints,
    bypass: Box<[Conditions]>,
    key_sets: Box<[KeySet]>,
    tables: Box<[Table]>,
    /// When its overrides end, in ascending order.
    ends: Box<[Timestamp]>,
    /// The limits, if they are a tree; then there are no tables.
    tree: Option<Box<DescriptorTree>>,
    /// The row of limit overrides, which belong to no table.
    limit_override: Row,
    key: FingerprintKey,
}

/// A bucket that a descriptor matches.
#[derive(Debug, Clone, Copy)]
pub struct MatchedBucket<'a> {
    /// The descriptor's position in the query.
    pub descriptor: usize,
    /// The bucket's row.
    pub row: &'a Row,
    /// The bucket's limit.
    pub bucket: &'a Bucket,
    /// The bucket's rule; none for a limit override.
    pub rule: Option<&'a Rule>,
    /// The bucket's name in the store.
    pub fingerprint: Fingerprint,
    /// The hits that the descriptor charges.
    pub hits: Hits,
    /// How far the bucket may owe, if it is charged whatever is left: that of its row, or for a limit override that of
    /// the rows whose buckets it replaces.
    pub debt: Option<Debt>,
}

impl MatchedBucket<'_> {
    /// Whether it is charged even if the request is denied, whichever bucket denies it.
    pub fn is_always_charged(&self) -> bool {
        match self.bucket {
            Bucket::Tokens(_) => self.debt.is_some(),
            Bucket::Window(_) => self.row.counting() == Counting::Each,
            Bucket::Concurrency(_) | Bucket::Blocked(_) => false,
        }
    }
}

/// Everything that a query matches.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// The buckets, grouped by descriptor, in the order of the tables.
    pub matched: SmallVec<[MatchedBucket<'a>; 8]>,
    /// The leases to release.
    pub releases: SmallVec<[LeaseId; 1]>,
    /// The descriptors that a descriptor tree says are unlimited, in order.
    pub unlimited: SmallVec<[usize; 2]>,
    /// Whether a bypass applies, so that no bucket is charged.
    pub is_bypassed: bool,
    /// Whether any table has a row for the query, an unlimited row included.
    pub is_matched: bool,
    /// How many entries of keys that the policy uses it does not read, since others with their key come before them.
    pub unread_entries: usize,
    /// Whether the policy is a descriptor tree, whose limits are windows.
    pub is_tree: bool,
    /// Whether a descriptor without a limit counts as a quota, so that no quota denies the request.
    pub has_open_quota: bool,
    /// Whether the request passes even if a bucket denies it.
    pub is_excused: bool,
}

impl Policy {
    /// The policy's domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Which response headers report the remaining limit.
    pub const fn headers(&self) -> HeaderStyle {
        self.headers
    }

    /// What happens to its requests while a shared store does not answer.
    pub const fn on_store_error(&self) -> OnStoreError {
        self.on_store_error
    }

    /// For how long its admissions are charged in a shared store ahead of the requests.
    pub const fn store_prepaid(&self) -> StorePrepaid {
        self.store_prepaid
    }

    /// The body of a denial.
    pub const fn denial_body(&self) -> &DenialBody {
        &self.denial_body
    }

    /// The key of the entry whose value determines a bucket's partition.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// How it reads addresses.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The entry keys that the policy uses.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether it takes a query.
    ///
    /// # Errors
    /// Why not: tables take no [irregular](Query::check) one.
    pub fn check<'q>(&self, query: &'q Query<'_>) -> Result<(), &'q BadRequest> {
        if self.is_tree() { Ok(()) } else { query.check() }
    }

    /// Whether it is a descriptor tree.
    pub const fn is_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Its tree of descriptors, if its limits are one.
    pub fn tree(&self) -> Option<&DescriptorTree> {
        self.tree.as_deref()
    }

    /// Its endpoint templates.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Its tables, in the order of the file; none if it is a descriptor tree.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Its bypasses. A query is not limited if one of its descriptors matches one of them.
    pub fn bypass(&self) -> &[Conditions] {
        &self.bypass
    }

    /// When the next of its overrides ends, by the wall clock: until then a query matches what it matches at `now`.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.ends.get(self.ends.partition_point(|end| *end <= now)).copied()
    }

    /// The rows of all tables or of the descriptor tree, then the row of limit overrides.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        let of_tree = self.tree().map(DescriptorTree::rows).unwrap_or_default();
        let of_tables = self.tables.iter().flat_map(|table| table.rows.iter());
        of_tables.chain(of_tree).chain([&self.limit_override])
    }

    /// The key of a table: the entries that name its buckets, and how many bits of an address count.
    pub fn key_set(&self, id: KeySetId) -> Option<&KeySet> {
        self.key_sets.get(id.0)
    }

    /// Finds every bucket that a query matches at `now`, and returns the plan by value, which costs one more copy than
    /// [`Self::resolve_into`].
    pub fn resolve<'a>(&'a self, query: &'a Query<'_>, now: Timestamp) -> Plan<'a> {
        let mut plan = Plan::default();
        self.resolve_into(query, now, &mut plan);
        plan
    }

    /// Adds every bucket that a query matches at `now` to an empty plan.
    pub fn resolve_into<'a>(&'a self, query: &'a Query<'_>, now: Timestamp, plan: &mut Plan<'a>) {
        if let Some(tree) = &self.tree {
            return self.resolve_in_tree(tree, query, plan);
        }
        for (at, descriptor) in query.descriptors().enumerate() {
            if let Some(lease) = descriptor.released_lease() {
                plan.releases.push(lease);
                continue;
            }
            let mut values = Values::new(&self.addresses);
            self.read_into(descriptor.entries(), &mut values);
            plan.unread_entries += values.unread();
            if self.bypass.iter().any(|bypass| bypass.all_match(&values)) {
                plan.is_bypassed = true;
                plan.matched.clear();
            } else if !plan.is_bypassed {
                self.resolve_descriptor(at, descriptor, &values, now, plan);
            }
        }
    }

    /// Projects entries onto the policy's keys, and adds the endpoint group of their method and path.
    pub(crate) fn read<'a>(&'a self, entries: &[Entry<'a>]) -> Values<'a> {
        let mut values = Values::new(&self.addresses);
        self.read_into(entries, &mut values);
        values
    }

    /// As [`Self::read`], into values that are empty, which costs a copy less.
    fn read_into<'a>(&'a self, entries: &[Entry<'a>], values: &mut Values<'a>) {
        self.keys.project(entries, values);
        self.resolve_group(values);
    }

    /// Adds the endpoint group of the method and the path, unless one was sent.
    #[inline]
    fn resolve_group<'a>(&'a self, values: &mut Values<'a>) {
        if values.get(KeyIndex::ENDPOINT_GROUP).is_none()
            && let (Some(method), Some(path)) =
                (values.get(KeyIndex::METHOD), values.get(KeyIndex::PATH))
            && let Some(group) = self.endpoints.group(method, path)
        {
            values.set(KeyIndex::ENDPOINT_GROUP, group.as_bytes());
        }
    }

    /// The keys and values of the entries that name a descriptor's buckets in a row, for display. A limit override
    /// may be named by any entry, so its key has all of them.
    pub fn bucket_key<'a>(
        &'a self,
        descriptor: Descriptor<'a>,
        row: &Row,
    ) -> Vec<(&'a str, Vec<u8>)> {
        if self.is_tree() {
            return descriptor_tree::key_in_tree(row, descriptor.entries());
        }
        let table = self.tables.iter().find(|table| table.name() == row.table());
        match table.and_then(|table| self.key_set(table.key())) {
            Some(set) if row.id() != self.limit_override.id() => {
                set.describe(&self.keys, &self.read(descriptor.entries()))
            }
            _ => {
                let entries = descriptor.entries().iter();
                entries.map(|entry| (entry.key.as_str(), entry.value.to_vec())).collect()
            }
        }
    }

    fn resolve_descriptor<'a>(
        &'a self,
        at: usize,
        descriptor: Descriptor<'a>,
        values: &Values<'_>,
        now: Timestamp,
        plan: &mut Plan<'a>,
    ) {
        let matched = &mut plan.matched;
        let first = matched.len();
        let hits = descriptor.hits();
        let mut bases = Bases::new(self);
        for table in &self.tables {
            let (row, rules) = match table.resolve(values, now) {
                Ok(matched) => matched,
                Err(miss) => {
                    plan.is_matched |= matches!(miss, Miss::Unlimited(_));
                    continue;
                }
            };
            let Ok(base) = bases.base(table.key, values) else { continue };
            plan.is_matched = true;
            matched.extend(rules.iter().map(|rule| MatchedBucket {
                descriptor: at,
                row,
                bucket: &rule.bucket,
                rule: Some(rule),
                fingerprint: base.salted(rule.salt),
                hits,
                debt: row.debt,
            }));
        }
        if let Some(limit) = descriptor.limit_override().map(BroughtLimit::tokens) {
            let (fingerprint, debt) = self.replace_tokens(matched, first, descriptor, limit);
            matched.push(MatchedBucket {
                descriptor: at,
                row: &self.limit_override,
                bucket: limit,
                rule: None,
                fingerprint,
                hits,
                debt,
            });
        }
    }

    /// Removes the enforced token buckets from `first` on, and names the limit override that replaces them, which is
    /// always charged if one of them is, and may owe the most of what they may. Its
    /// name is made of the limit's period and of the names that it replaces; of the whole descriptor if it replaces none.
    /// If another descriptor of the request brings another limit for that bucket, each has a bucket of its own.
    fn replace_tokens(
        &self,
        matched: &mut SmallVec<[MatchedBucket<'_>; 8]>,
        first: usize,
        descriptor: Descriptor<'_>,
        limit: &Bucket,
    ) -> (Fingerprint, Option<Debt>) {
        let is_replaced = |matched: &MatchedBucket<'_>| {
            matches!(matched.bucket, Bucket::Tokens(_)) && !matched.row.is_shadow()
        };
        let named = |limit: &[&str]| {
            let salt = Salt::of(self.key, [&*self.domain, "limit"], limit.iter().copied());
            let replaced = matched.iter().skip(first).filter(|matched| is_replaced(matched));
            let name = Fingerprint::in_place_of(replaced.map(|matched| matched.fingerprint), salt);
            name.unwrap_or_else(|| {
                Base::of_entries(self.key, descriptor.entries().iter().copied()).salted(salt)
            })
        };
        let kind = identity::kind(limit);
        let mut name = named(&[&kind]);
        if matched.iter().any(|other| other.fingerprint == name && other.bucket != limit) {
            name = named(&[&kind, &limit.to_string()]);
        }
        let replaced = matched.iter().skip(first).filter(|matched| is_replaced(matched));
        let debt = replaced.filter_map(|matched| matched.debt).max();
        let mut at = 0;
        matched.retain(|matched| {
            at += 1;
            at <= first || !is_replaced(matched)
        });
        (name, debt)
    }
}

/// The bases of one descriptor, each computed when the first table needs it.
struct Bases<'p> {
    policy: &'p Policy,
    bases: SmallVec<[Option<Result<Base, KeyIndex>>; 8]>,
}

impl<'p> Bases<'p> {
    fn new(policy: &'p Policy) -> Self {
        Self { policy, bases: SmallVec::from_elem(None, policy.key_sets.len()) }
    }

    fn base(&mut self, KeySetId(at): KeySetId, values: &Values<'_>) -> Result<Base, KeyIndex> {
        let (Some(base), Some(set)) = (self.bases.get_mut(at), self.policy.key_sets.get(at)) else {
            return Err(KeyIndex::ENDPOINT_GROUP);
        };
        *base.get_or_insert_with(|| set.base(self.policy.key, values))
    }
}
