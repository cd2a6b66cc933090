//! When a hash table returns memory.

use hashbrown::HashTable;

/// Smaller tables keep their memory: it is too little to be worth a rehash.
const MIN_TO_SHRINK: usize = 64;

/// Whether less than a quarter of a table's capacity is used, so that halving it leaves room to grow.
pub(super) const fn is_sparse(len: usize, capacity: usize) -> bool {
    capacity > MIN_TO_SHRINK && len * 4 < capacity
}

/// Shrinks a sparse table to twice its length.
pub(super) fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    let len = table.len();
    if is_sparse(len, table.capacity()) {
        table.shrink_to(len * 2, hash);
    }
}
