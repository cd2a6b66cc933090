//! What a decision costs: each step alone and all together, by number of buckets, keys in the store,
//! threads, rows, endpoint templates and overrides.
//!
//! ```text
//! cargo bench --bench decide                    all tables, in about two minutes
//! cargo bench --bench decide -- steps           only the groups or benches with this in their name
//! ```
//!
//! Read the medians, of one run, beside each other; the machine's other work is in the slowest. In the
//! tables, `decision` is [`Policy::resolve`](tollgate::policy::Policy::resolve) and
//! [`decision::decide`](tollgate::decision::decide): what lies between the wire and the wire.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "bench code: a failure is a panic"
)]

#[path = "../support/mod.rs"]
mod support;

mod policies;
mod steps;
mod stores;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}
