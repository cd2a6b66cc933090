//! The counters of each path.
//!
//! The paths of most limits are those of the configuration, and their counters are looked up when it is loaded. Others are
//! made of what a request has. Their number is bounded: beyond it, such requests count at one path of their domain.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

use super::increase::Increase;
use super::path_text::{PathText, cleaned};
use crate::observe::telemetry::owners::Owners;
use crate::striped::Striped;

/// The maximum number of paths that are made of what requests have, in one process. They are never removed.
pub(super) const MAX_OF_REQUESTS: usize = 10_000;

/// The path that stands for those beyond the maximum, below their domain.
pub(super) const OTHER: &str = "other";

/// The counters of a path.
#[derive(Debug, Default)]
pub(super) struct Counts {
    total_hits: AtomicU64,
    within_limit: AtomicU64,
    near_limit: AtomicU64,
    over_limit: AtomicU64,
    shadow_mode: AtomicU64,
    /// Of a path that is a domain without a configuration.
    domain_not_found: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, by: Increase) {
        let Increase { total_hits, within_limit, near_limit, over_limit, shadow_mode } = by;
        for (counter, by) in [
            (&self.total_hits, total_hits),
            (&self.within_limit, within_limit),
            (&self.near_limit, near_limit),
            (&self.over_limit, over_limit),
            (&self.shadow_mode, shadow_mode),
        ] {
            if by > 0 {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn add_not_found(&self, descriptors: u64) {
        self.domain_not_found.fetch_add(descriptors, Ordering::Relaxed);
    }

    /// The counters that are not 0, with the ends of their names.
    fn risen(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let counters = [
            ("total_hits", &self.total_hits),
            ("within_limit", &self.within_limit),
            ("near_limit", &self.near_limit),
            ("over_limit", &self.over_limit),
            ("shadow_mode", &self.shadow_mode),
            ("domain_not_found", &self.domain_not_found),
        ];
        let values = counters.map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        values.into_iter().filter(|(_, value)| *value > 0)
    }
}

/// The paths of a configuration, and some of earlier ones.
#[derive(Debug, Default)]
struct Configured {
    counts: HashMap<Box<str>, Arc<Counts>>,
    owners: Owners<Box<str>>,
}

/// All paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    configured: Mutex<Configured>,
    of_requests: Striped<HashMap<Box<[u8]>, Counts>>,
    /// How many there are of requests.
    count: AtomicUsize,
    /// Of domains without a configuration beyond the maximum.
    other_domains: Counts,
    /// Whether it was told that there are too many.
    is_full_told: AtomicBool,
    hasher: DefaultHashBuilder,
}

impl Paths {
    /// Begins to look up the paths of a configuration that replaces the previous one.
    pub(super) fn begin(&self) {
        self.configured.lock().owners.begin();
    }

    /// The counters of a path of the configuration. One that was there before continues its counters.
    pub(super) fn configured(&self, path: &str) -> Arc<Counts> {
        let path: Box<str> = cleaned(path).into();
        let Configured { counts, owners } = &mut *self.configured.lock();
        owners.record(path.clone());
        Arc::clone(counts.entry(path).or_default())
    }

    /// Removes those of earlier configurations that are too many; see [`Owners::retire`].
    pub(super) fn retire(&self) {
        let Configured { counts, owners } = &mut *self.configured.lock();
        for path in owners.retire() {
            counts.remove(&path);
        }
    }

    /// Counts at a path of a request. Returns false if it is not there, and there are too many to add it. Allocates only if
    /// it is new.
    pub(super) fn count(&self, mut path: PathText, count: impl FnOnce(&Counts)) -> bool {
        let path = path.finish();
        let mut stripe = self.of_requests.of(self.hasher.hash_one(path)).lock();
        if let Some(counts) = stripe.get(path) {
            count(counts);
            return true;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= MAX_OF_REQUESTS {
            self.count.fetch_sub(1, Ordering::Relaxed);
            drop(stripe);
            self.tell_full();
            return false;
        }
        count(stripe.entry(path.into()).or_default());
        true
    }

    /// The counters of domains without a configuration whose path is not added.
    pub(super) const fn other_domains(&self) -> &Counts {
        &self.other_domains
    }

    fn tell_full(&self) {
        if !self.is_full_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                max = MAX_OF_REQUESTS,
                "too many paths of statistics are made of values of requests; further ones are counted as `{OTHER}`"
            );
        }
    }

    /// Every counter that is not 0, as its path, the end of its name, and its value; in no order. A path may occur twice.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str, &'static str, u64)) {
        let mut told = |path: &str, counts: &Counts| {
            counts.risen().for_each(|(name, value)| each(path, name, value));
        };
        told(OTHER, &self.other_domains);
        let configured = &self.configured.lock().counts;
        configured.iter().for_each(|(path, counts)| told(path, counts));
        for stripe in self.of_requests.iter() {
            // Cleaned, so it is text.
            let stripe = stripe.lock();
            for (path, counts) in &*stripe {
                told(std::str::from_utf8(path).unwrap_or_default(), counts);
            }
        }
    }
}
