//! What a decision may cost, and what it may not cost more than.

use std::hint::black_box;
use std::time::Instant;

use tollgate::descriptor::Query;
use tollgate::{decision, wire};

use crate::report::Report;
use crate::support::{NOW, Parts, Scattered, Shape, USUAL, leak, message, path, tenant};

/// Repetitions; the median counts, of both sides of a ratio in turn.
const ROUNDS: usize = 101;

/// Calls of one repetition.
const CALLS: usize = 2_000;

/// So many callers take turns where the policy is what differs.
const CALLERS: usize = 1_000;

/// So many where the store is: four buckets each, far more than caches hold.
const SCATTERED: usize = 1 << 16;

/// A denial may seem this much dearer than an admission before it is one.
const NOISE: f64 = 1.03;

/// And this much when it is told, from bytes to bytes.
const TOLD: f64 = 1.06;

pub fn check(report: &mut Report) {
    report.headline("decisions of four buckets, met and charged, on one thread");
    let hot = Parts::of(USUAL);
    let query = leak([message("type_0", &tenant(0), None)].into_iter());
    // What others take of the machine is not ours: of several medians the least counts.
    let nanos = (0..5).map(|_| medians([&mut || time(query, |query| hot.decide(query))]));
    let nanos = nanos.map(|[nanos]| nanos).fold(f64::INFINITY, f64::min);
    report.check("hot keys", nanos, 250.0, "ns");
    for (keys, limit) in [(1_000_000, Some(1_000.0)), (10_000_000, None)] {
        let [nanos] = spread(keys);
        let what = format!("{keys} keys, callers in turn");
        match limit {
            Some(limit) => report.check(&what, nanos, limit, "ns"),
            None => report.note(&what, nanos, "ns"),
        }
    }
    report.headline("the same, by the policy's size: the same callers, larger over smaller");
    let ask = |rows: usize| {
        move |caller: usize| message(&format!("type_{}", caller % rows), &tenant(caller), None)
    };
    let of_rows = |rows| (Shape { rows, ..USUAL }, ask(rows));
    let ratio = ratio(of_rows(10), of_rows(10_000));
    report.check("10 to 10,000 rows", ratio, 1.3, "times");
    let ask = |templates: usize| {
        move |caller: usize| message("type_0", &tenant(caller), Some(&path(caller % templates)))
    };
    let of_templates = |templates| (Shape { templates, ..USUAL }, ask(templates));
    let ratio = self::ratio(of_templates(10), of_templates(5_000));
    report.check("10 to 5,000 endpoint templates", ratio, 1.3, "times");
    // With one override as with 10,000 one caller in two has one.
    let ask = |overrides: usize| {
        move |caller: usize| message("type_0", &tenant((caller * 97) % (2 * overrides)), None)
    };
    let of_overrides = |overrides| (Shape { overrides, ..USUAL }, ask(overrides));
    let ratio = self::ratio(of_overrides(500), of_overrides(10_000));
    report.check("500 to 10,000 overrides of one row", ratio, 1.3, "times");
    denials(report);
}

fn denials(report: &mut Report) {
    report.headline("a denial of an exhausted bucket over an admission, four buckets");
    let parts = Parts::of(USUAL);
    let messages = ["type_0", "spent"].map(|kind| message(kind, &tenant(0), None));
    let queries = [0, 1].map(|at| wire::decode(&messages[at]).unwrap());
    let plans = [0, 1].map(|at| parts.policy().resolve(&queries[at], NOW));
    queries.iter().for_each(|query| assert!(parts.decide(query)));
    let decide = |at: usize| {
        let plan = &plans[at];
        let decide = |()| decision::decide(black_box(plan), &parts.store, NOW).unwrap().is_admitted;
        time(&[(); 1], |()| decide(()))
    };
    let [admitted, denied] = medians([&mut || decide(0), &mut || decide(1)]);
    report.check("decide", denied / admitted, NOISE, "times");
    let answer = |at: usize| {
        let ask = |message: &Vec<u8>| parts.answer(message).unwrap().is_over_limit;
        time(&messages[at..=at], ask)
    };
    let [admitted, denied] = medians([&mut || answer(0), &mut || answer(1)]);
    report.note("an admitted call, from bytes to bytes", admitted, "ns");
    report.note("a denied call, from bytes to bytes", denied, "ns");
    // It carries a body, two more headers and metadata, some 250 bytes. Counted without a clock, by
    // benches/instructions.sh, it takes fewer instructions than an admission; memory is what is left.
    report.check("a whole call", denied / admitted, TOLD, "times");
}

fn spread(keys: usize) -> [f64; 1] {
    let parts = Parts::of(USUAL);
    let callers = parts.fill(keys);
    let mut scattered = Scattered::new(callers, 0);
    let ask = |_| message("type_0", &tenant(scattered.next()), None);
    let queries = leak((0..callers.min(SCATTERED)).map(ask));
    let mut chunks = queries.chunks(CALLS).cycle();
    medians([&mut || time(chunks.next().unwrap(), |query| parts.decide(query))])
}

/// The second policy's cost over the first's; callers with buckets of their own take turns.
fn ratio<A: Fn(usize) -> Vec<u8>>(first: (Shape, A), second: (Shape, A)) -> f64 {
    let made = [first, second].map(|(shape, ask)| {
        let queries: &[Query<'_>] = leak((0..CALLERS).map(ask));
        (Parts::of(shape), queries)
    });
    let [first, second] = &made;
    let [small, large] =
        medians([&mut || time(first.1, |query| first.0.decide(query)), &mut || {
            time(second.1, |query| second.0.decide(query))
        }]);
    large / small
}

/// Nanoseconds of one call, over a repetition of them.
fn time<T, R>(asked: &[T], mut call: impl FnMut(&T) -> R) -> f64 {
    let start = Instant::now();
    for asked in asked.iter().cycle().take(CALLS) {
        black_box(call(black_box(asked)));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(CALLS).unwrap())
}

/// Lets each side be measured in turn, over and over: the median of each.
fn medians<const N: usize>(mut sides: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut measured = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (side, measured) in sides.iter_mut().zip(&mut measured) {
            measured.push(side());
        }
    }
    measured.map(|mut measured| {
        measured.sort_unstable_by(f64::total_cmp);
        measured[measured.len() / 2]
    })
}
