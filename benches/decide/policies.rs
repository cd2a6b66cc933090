//! Decisions of four buckets under policies of 10 to 10,000 rows, with 10 to 5,000 endpoint templates and
//! 1 to 10,000 overrides of one row. The callers are the same ones each time; they take turns, and so do
//! the rows and the templates that they meet.

use std::cell::Cell;

use divan::Bencher;
use tollgate::descriptor::Query;

use crate::support::{Parts, Shape, USUAL, leak, message, path, tenant};

/// Few enough for their buckets to stay in the core's caches.
const CALLERS: usize = 1_000;

/// Asks in turn, each caller with what `ask` gives for its number.
fn take_turns(bencher: Bencher<'_, '_>, shape: Shape, ask: impl Fn(usize) -> Vec<u8>) {
    let parts = Parts::of(shape);
    let queries: &[Query<'_>] = leak((0..CALLERS).map(ask));
    let at = Cell::new(0);
    let next = || {
        let number = at.replace(at.get() + 1);
        &queries[number % queries.len()]
    };
    bencher.with_inputs(next).bench_local_values(|query| parts.decide(query));
}

#[divan::bench(args = [10, 100, 1_000, 10_000], sample_size = 1_000)]
fn rows(bencher: Bencher<'_, '_>, rows: usize) {
    let ask = |caller| message(&format!("type_{}", caller % rows), &tenant(caller), None);
    take_turns(bencher, Shape { rows, ..USUAL }, ask);
}

#[divan::bench(args = [10, 100, 1_000, 5_000], sample_size = 1_000)]
fn templates(bencher: Bencher<'_, '_>, templates: usize) {
    let ask = |caller| message("type_0", &tenant(caller), Some(&path(caller % templates)));
    take_turns(bencher, Shape { templates, ..USUAL }, ask);
}

/// Every caller that has an override, up to their number, and as many that have none.
#[divan::bench(args = [1, 100, 10_000], sample_size = 1_000)]
fn overrides(bencher: Bencher<'_, '_>, overrides: usize) {
    let ask = |caller| message("type_0", &tenant((caller * 97) % (overrides * 2)), None);
    take_turns(bencher, Shape { overrides, ..USUAL }, ask);
}
