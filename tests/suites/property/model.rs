//! The model: a policy in plain Rust, and buckets that only add and subtract.

use std::collections::HashMap;
use std::time::Duration;

use super::calls::{BROUGHT, Call};
use crate::support::Answer;

const SECOND: u128 = 1_000_000_000;

/// The sizes that vary from one run to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) fast: u32,
    pub(crate) slow: u32,
    pub(crate) odd: u32,
    pub(crate) slots: u32,
}

pub(crate) fn policy(Sizes { fast, slow, odd, slots }: Sizes) -> String {
    format!(
        "domain: model
tables:
  - name: by type
    select: type
    key: [a]
    rows:
      x: [{{ per_second: {fast} }}, {{ size: {slow}, per_minute: 30 }}]
      y: [{{ per_hour: {odd} }}]
      free: unlimited
      banned: blocked
      default: [{{ size: {slow}, rate: {odd}, every: 10s }}]
  - name: pair
    when: {{ b: {{ present: true }} }}
    key: [a, b]
    rows: {{ all: [{{ per_second: {odd} }}] }}
  - name: jobs
    when: {{ type: [x, z*] }}
    key: [a]
    rows: {{ all: [{{ concurrent: {slots}, ttl: 30s }}] }}
  - name: watched
    shadow: true
    key: [b]
    rows: {{ all: [{{ per_minute: {fast} }}, {{ size: {slow}, per_hour: {odd} }}] }}
  - {{ name: tried, select: type, shadow: true, key: [b], rows: {{ y: blocked }} }}
  - name: spent
    charge: always
    most_owed: {odd}
    when: {{ type: [x, y, zz] }}
    key: [a]
    rows: {{ all: [{{ size: {slow}, per_minute: 30 }}] }}
  - name: metered
    select: type
    key: [b]
    rows:
      x: {{ charge: always, buckets: [{{ per_second: {fast} }}, {{ concurrent: {slots}, ttl: 30s }}] }}
      default: {{ charge: always, shadow: true, buckets: [{{ per_hour: {odd} }}, {{ per_second: {fast} }}] }}
  - name: everybody
    when: {{ c: {{ absent: true }} }}
    key: []
    rows: {{ all: [{{ size: 40, per_second: {slow} }}] }}
overrides:
  - {{ table: spent, when: {{ a: \"2\" }}, buckets: [{{ size: {odd}, per_minute: 20 }}] }}
"
    )
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Size, and the time one token takes.
    Tokens(u128, u128),
    /// Slots, and how long each is held.
    Slots(u128, u128),
    /// Lets nothing pass.
    Blocked,
}

/// For a bucket that is charged whatever is left, the most tokens that it may owe.
pub(crate) type Debt = Option<u128>;

/// The longest time until a bucket is full.
const LONGEST: u128 = 1 << 62;

pub(crate) type Name = (String, Vec<String>, usize);

/// A bucket that a descriptor meets.
#[derive(Debug, Clone)]
pub(crate) struct MatchedBucket {
    pub(crate) descriptor: usize,
    pub(crate) label: String,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) shadow: bool,
    pub(crate) debt: Debt,
    pub(crate) hits: i128,
}

/// What the model keeps: for tokens how much time of refilling is owed, for slots who holds them until when.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: u128,
    pub(crate) owed: HashMap<Name, u128>,
    pub(crate) held: HashMap<Name, Vec<(String, u128, u128)>>,
}

pub(crate) fn first<'a>(entries: &'a [(String, String)], key: &str) -> Option<&'a str> {
    entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

pub(crate) fn tokens(size: u32, rate: u32, period: u128) -> Kind {
    Kind::Tokens(size.into(), period * SECOND / u128::from(rate))
}

/// The buckets of one descriptor, table by table.
pub(crate) fn met(
    sizes: Sizes,
    entries: &[(String, String)],
) -> Vec<(String, Name, Kind, bool, Debt)> {
    let Sizes { fast, slow, odd, slots } = sizes;
    let mut met = Vec::new();
    let mut add = |table: &str, row: &str, key: &[&str], kinds: &[Kind], shadow, debt| {
        let values: Option<Vec<_>> =
            key.iter().map(|key| first(entries, key).map(str::to_owned)).collect();
        let Some(values) = values else { return };
        for (at, kind) in kinds.iter().enumerate() {
            let label = format!("{table}/{row}");
            met.push((label.clone(), (label, values.clone(), at), *kind, shadow, debt));
        }
    };
    match first(entries, "type") {
        Some("x") => {
            add("by type", "x", &["a"], &[tokens(fast, fast, 1), tokens(slow, 30, 60)], false, None)
        }
        Some("y") => add("by type", "y", &["a"], &[tokens(odd, odd, 3600)], false, None),
        Some("free") => {}
        Some("banned") => add("by type", "banned", &["a"], &[Kind::Blocked], false, None),
        _ => add("by type", "default", &["a"], &[tokens(slow, odd, 10)], false, None),
    }
    if first(entries, "b").is_some() {
        add("pair", "all", &["a", "b"], &[tokens(odd, odd, 1)], false, None);
    }
    if first(entries, "type").is_some_and(|kind| kind == "x" || kind.starts_with('z')) {
        add("jobs", "all", &["a"], &[Kind::Slots(slots.into(), 30 * SECOND)], false, None);
    }
    add("watched", "all", &["b"], &[tokens(fast, fast, 60), tokens(slow, odd, 3600)], true, None);
    if first(entries, "type") == Some("y") {
        add("tried", "y", &["b"], &[Kind::Blocked], true, None);
    }
    let fast_spent = tokens(fast, fast, 1);
    let slow_spent = match first(entries, "a") {
        // An override.
        Some("2") => tokens(odd, 20, 60),
        _ => tokens(slow, 30, 60),
    };
    if first(entries, "type").is_some_and(|kind| ["x", "y", "zz"].contains(&kind)) {
        add("spent", "all", &["a"], &[slow_spent], false, Some(odd.into()));
    }
    match first(entries, "type") {
        Some("x") => {
            let slots = Kind::Slots(slots.into(), 30 * SECOND);
            add("metered", "x", &["b"], &[fast_spent, slots], false, Some(u128::MAX));
        }
        _ => {
            let spent = [tokens(odd, odd, 3600), fast_spent];
            add("metered", "default", &["b"], &spent, true, Some(u128::MAX));
        }
    }
    if first(entries, "c").is_none() {
        add("everybody", "all", &[], &[tokens(40, slow, 1)], false, None);
    }
    met
}

/// Puts the limit that a descriptor brings in the place of its enforced token buckets.
pub(crate) fn replace_tokens(
    met: &mut Vec<(String, Name, Kind, bool, Debt)>,
    entries: &[(String, String)],
) {
    let is_replaced = |kind: &Kind, shadow: &bool| matches!(kind, Kind::Tokens(..)) && !shadow;
    let replaced = met.extract_if(.., |(_, _, kind, shadow, _)| is_replaced(kind, shadow));
    let replaced: Vec<_> = replaced.collect();
    let debt = replaced.iter().filter_map(|(.., debt)| *debt).max();
    let mut names: Vec<_> = replaced.iter().map(|(_, name, ..)| format!("{name:?}")).collect();
    if names.is_empty() {
        names.push(format!("{entries:?}"));
    }
    let label = "limit override/request".to_owned();
    let name = (label.clone(), names, 0);
    met.push((label, name, tokens(BROUGHT, BROUGHT, 60), false, debt));
}

/// How a bucket answers: whether and when it admits, what is left, when it is full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stand {
    /// `None`: never.
    pub(crate) wait: Option<u128>,
    pub(crate) left: u128,
    pub(crate) reset: u128,
}

impl Model {
    pub(crate) fn pass(&mut self, span: u128) {
        self.now += span;
        self.owed.values_mut().for_each(|owed| *owed = owed.saturating_sub(span));
        let now = self.now;
        self.held.values_mut().for_each(|held| held.retain(|(_, expires, _)| *expires > now));
    }

    /// What a bucket says to so many hits (0: as if to one), as it stands.
    pub(crate) fn stand(&self, met: &MatchedBucket, hits: u128) -> Stand {
        let is_always_charged = met.debt.is_some() && matches!(met.kind, Kind::Tokens(..));
        let needed = if is_always_charged { 1 } else { hits.max(1) };
        match met.kind {
            Kind::Tokens(size, interval) => {
                let owed = self.owed.get(&met.name).copied().unwrap_or(0);
                let full = size * interval;
                let wait =
                    (needed <= size).then(|| (owed + needed * interval).saturating_sub(full));
                Stand { wait, left: full.saturating_sub(owed) / interval, reset: owed }
            }
            Kind::Slots(size, _) => {
                let mut held = self.held.get(&met.name).cloned().unwrap_or_default();
                held.sort_by_key(|(_, expires, _)| *expires);
                let taken: u128 = held.iter().map(|(_, _, slots)| slots).sum();
                let mut freed = 0;
                let mut wait = Some(0);
                for (_, expires, slots) in &held {
                    if taken - freed + needed > size {
                        freed += slots;
                        wait = Some(expires - self.now);
                    }
                }
                if needed > size {
                    wait = None;
                }
                let reset = held.last().map_or(0, |(_, expires, _)| expires - self.now);
                Stand { wait, left: size - taken, reset }
            }
            Kind::Blocked => Stand { wait: None, left: 0, reset: 0 },
        }
    }

    pub(crate) fn take(&mut self, met: &MatchedBucket, lease: Option<&str>) {
        match met.kind {
            Kind::Tokens(size, interval) => {
                let owed = self.owed.entry(met.name.clone()).or_default();
                let span = met.hits.unsigned_abs() * interval;
                *owed = if met.hits < 0 { owed.saturating_sub(span) } else { *owed + span };
                if let Some(most) = met.debt {
                    let most = most.saturating_add(size).saturating_mul(interval);
                    *owed = (*owed).min(most.min(LONGEST));
                }
            }
            Kind::Slots(_, hold) if met.hits > 0 => {
                let held = self.held.entry(met.name.clone()).or_default();
                let lease = lease.unwrap();
                held.push((lease.to_owned(), self.now + hold, met.hits.unsigned_abs()));
            }
            Kind::Slots(..) | Kind::Blocked => {}
        }
    }

    /// Returns how many leases were still held.
    pub(crate) fn release(&mut self, lease: &str) -> usize {
        let mut was_held = false;
        for held in self.held.values_mut() {
            let before = held.len();
            held.retain(|(id, ..)| id != lease);
            was_held |= held.len() < before;
        }
        usize::from(was_held)
    }

    /// Decides a call as the server must have, and checks all that the server said of it.
    pub(crate) fn check(&mut self, sizes: Sizes, call: &Call, leases: &[String], answer: &Answer) {
        let released: Option<usize> =
            call.released(leases).map(|lease| self.release(lease)).sum::<usize>().into();
        let any_release = call.descriptors.iter().any(|asked| asked.release.is_some());
        assert_eq!(answer.released(), released.filter(|_| any_release));

        let all = call.met(sizes);
        let mut buckets: Vec<MatchedBucket> = Vec::new();
        for met in &all {
            match buckets.iter_mut().find(|other| other.name == met.name) {
                Some(other) => other.hits = other.hits.max(met.hits),
                None => buckets.push(met.clone()),
            }
        }
        let before: Vec<Stand> =
            buckets.iter().map(|met| self.stand(met, met.hits.max(0).unsigned_abs())).collect();
        let gives_back = |met: &MatchedBucket| met.hits < 0;
        let is_over =
            |met: &MatchedBucket, stand: &Stand| !gives_back(met) && stand.wait != Some(0);
        let is_denied =
            buckets.iter().zip(&before).any(|(met, stand)| !met.shadow && is_over(met, stand));
        assert_eq!(answer.is_ok(), !is_denied, "{call:?}\n{before:?}");
        let takes_slots = |met: &MatchedBucket| matches!(met.kind, Kind::Slots(..)) && met.hits > 0;
        let lease = answer.metadata("lease");
        assert_eq!(lease.is_some(), !is_denied && buckets.iter().any(takes_slots));
        let is_always_made =
            |met: &MatchedBucket| met.debt.is_some() && matches!(met.kind, Kind::Tokens(..));
        for met in buckets.iter().filter(|met| is_always_made(met)) {
            self.take(met, None);
        }
        if !is_denied {
            for (met, stand) in buckets.iter().zip(&before) {
                // The buckets of a shadow row are charged all or none.
                let is_of_row = |other: &MatchedBucket| {
                    other.shadow && (&other.name.0, &other.name.1) == (&met.name.0, &met.name.1)
                };
                let mut of_row = buckets.iter().zip(&before).filter(|(other, _)| is_of_row(other));
                let spared = met.shadow && of_row.any(|(other, stand)| is_over(other, stand));
                if !is_over(met, stand) && !spared && !is_always_made(met) {
                    self.take(met, lease);
                }
            }
        }
        for (at, status) in answer.0.statuses.iter().enumerate() {
            // Nothing is said of rows in shadow.
            let enforced = all.iter().filter(|met| met.descriptor == at && !met.shadow);
            let of_it = enforced.map(|met| {
                let bucket = buckets.iter().position(|other| other.name == met.name).unwrap();
                let over = is_over(&buckets[bucket], &before[bucket]);
                let stand = self.stand(met, 0);
                let is_empty = is_always_made(met) && stand.left == 0;
                let said_reset = if is_empty { stand.wait.unwrap() } else { stand.reset };
                // What is charged although it is denied makes the wait longer.
                let told = if is_always_made(met) { stand.wait } else { before[bucket].wait };
                let wait = if over { told.unwrap_or(u128::MAX) } else { 0 };
                let order = (std::cmp::Reverse(wait), stand.left, std::cmp::Reverse(stand.reset));
                (order, said_reset, met)
            });
            let Some(((wait, left, _), reset, met)) = of_it.min_by_key(|(order, ..)| *order) else {
                assert_eq!((status.code, &status.current_limit), (1, &None));
                continue;
            };
            let expected_code = if wait.0 > 0 { 2 } else { 1 };
            let said_reset = status.duration_until_reset;
            assert_eq!(said_reset.is_none(), met.kind == Kind::Blocked, "{call:?}");
            let said_reset = said_reset.unwrap_or_default();
            let said_reset = Duration::try_from(said_reset).unwrap().as_nanos();
            assert_eq!(status.current_limit.as_ref().unwrap().name, met.label, "{call:?}");
            assert_eq!(
                (status.code, u128::from(status.limit_remaining), said_reset),
                (expected_code, left, reset.div_ceil(SECOND) * SECOND),
                "{call:?}"
            );
        }
    }
}
