//! The shards of one request, locked.

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::MemoryStore;
use super::shard::Shard;
use crate::store::Charge;

impl MemoryStore {
    /// Locks the shards of all charges, in ascending order; `None` for no charges.
    pub(super) fn lock(&self, charges: &[Charge<'_>]) -> Option<LockedShards<'_>> {
        let mut indexes = charges.iter().map(|charge| self.index(charge.fingerprint.shard()));
        let first = indexes.next()?;
        if indexes.all(|index| index == first) {
            return Some(LockedShards {
                store: self,
                first: self.lock_one(first)?,
                others: SmallVec::new(),
            });
        }
        let mut indexes: SmallVec<[usize; 8]> =
            charges.iter().map(|charge| self.index(charge.fingerprint.shard())).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut guards = indexes.into_iter().filter_map(|index| self.lock_one(index));
        Some(LockedShards { store: self, first: guards.next()?, others: guards.collect() })
    }

    fn lock_one(&self, index: usize) -> Option<(usize, MutexGuard<'_, Shard>)> {
        Some((index, self.shards.get(index)?.0.lock()))
    }
}

/// The locked shards of one request, in ascending order. Nearly always one: buckets whose names have the same values
/// share a shard.
pub(super) struct LockedShards<'a> {
    store: &'a MemoryStore,
    first: (usize, MutexGuard<'a, Shard>),
    others: SmallVec<[(usize, MutexGuard<'a, Shard>); 1]>,
}

impl LockedShards<'_> {
    /// The shard of a charge's bucket. It must be one of the charges given to [`MemoryStore::lock`].
    pub(super) fn of(&mut self, charge: &Charge<'_>) -> &mut Shard {
        if self.others.is_empty() {
            return &mut self.first.1;
        }
        let index = self.store.index(charge.fingerprint.shard());
        let other = self.others.binary_search_by_key(&index, |(other, _)| *other);
        let other = other.ok().and_then(|at| self.others.get_mut(at));
        let (_, shard) = other.unwrap_or(&mut self.first);
        shard
    }
}
