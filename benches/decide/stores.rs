//! Decisions of four buckets in stores of 1 thousand to 10 million keys, by one thread and by two, on one
//! hot caller and on callers spread over the whole store.

use std::cell::Cell;
use std::sync::LazyLock;

use divan::Bencher;
use tollgate::descriptor::Query;

use crate::support::{Parts, Scattered, USUAL, leak, message, tenant};

const SIZES: [usize; 3] = [1_000, 1_000_000, 10_000_000];

/// So many callers take turns, each with buckets of its own.
const CALLERS: usize = 1 << 16;

/// A store, and questions of callers whose buckets are scattered over all of it.
struct Filled {
    parts: Parts,
    messages: Vec<Vec<u8>>,
    queries: &'static [Query<'static>],
}

impl Filled {
    fn new(keys: usize) -> Self {
        let parts = Parts::of(USUAL);
        let callers = parts.fill(keys);
        let mut scattered = Scattered::new(callers, 0);
        let ask = |_| message("type_0", &tenant(scattered.next()), None);
        let messages: Vec<_> = (0..callers.min(CALLERS)).map(ask).collect();
        let queries = leak(messages.iter().cloned());
        Self { parts, messages, queries }
    }
}

/// The store with so many keys, made when it is first asked for.
fn filled(keys: usize) -> &'static Filled {
    static FILLED: [LazyLock<Filled>; 3] = [
        LazyLock::new(|| Filled::new(SIZES[0])),
        LazyLock::new(|| Filled::new(SIZES[1])),
        LazyLock::new(|| Filled::new(SIZES[2])),
    ];
    let at = SIZES.iter().position(|size| *size == keys);
    &FILLED[at.unwrap()]
}

thread_local! {
    /// Where this thread stands in the list of questions.
    static TURN: Cell<usize> = const { Cell::new(0) };
}

fn next<T>(list: &[T]) -> &T {
    let at = TURN.replace(TURN.get() + 1);
    &list[at % list.len()]
}

#[divan::bench(args = SIZES, threads = [1, 2], sample_size = 4096)]
fn decision_hot(bencher: Bencher<'_, '_>, keys: usize) {
    let Filled { parts, queries, .. } = filled(keys);
    bencher.with_inputs(|| &queries[0]).bench_values(|query| parts.decide(query));
}

#[divan::bench(args = SIZES, threads = [1, 2], sample_size = 4096)]
fn decision_spread(bencher: Bencher<'_, '_>, keys: usize) {
    let Filled { parts, queries, .. } = filled(keys);
    bencher.with_inputs(|| next(queries)).bench_values(|query| parts.decide(query));
}

/// A whole call, from bytes to bytes.
#[divan::bench(args = SIZES, threads = [1, 2], sample_size = 4096)]
fn answer_hot(bencher: Bencher<'_, '_>, keys: usize) {
    let Filled { parts, messages, .. } = filled(keys);
    let ask = |message: &Vec<u8>| parts.answer(message).unwrap().is_over_limit;
    bencher.with_inputs(|| &messages[0]).bench_values(ask);
}

/// A whole call, from bytes to bytes.
#[divan::bench(args = SIZES, threads = [1, 2], sample_size = 4096)]
fn answer_spread(bencher: Bencher<'_, '_>, keys: usize) {
    let Filled { parts, messages, .. } = filled(keys);
    let ask = |message: &Vec<u8>| parts.answer(message).unwrap().is_over_limit;
    bencher.with_inputs(|| next(messages)).bench_values(ask);
}
