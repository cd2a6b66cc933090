//! What a call allocates, counted: one test, since the counter is the process's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod support;

use prost::Message;
use support::{Parts, SHIPPED, shipped};
use tollgate::clock::Clock;
use tollgate::descriptor::Query;
use tollgate::{config, decision, wire};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn allocations<T>(run: impl FnOnce() -> T) -> (u64, T) {
    let before = dhat::HeapStats::get().total_blocks;
    let result = run();
    (dhat::HeapStats::get().total_blocks - before, result)
}

#[test]
fn a_call_allocates_nothing_before_its_verdict_and_little_after() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let parts = Parts::new(&config::read(SHIPPED.as_ref()).unwrap(), 100_000);
    let message = shipped(&[
        ("tenant_type", "enterprise_production"),
        ("tenant", "acme"),
        ("method", "GET"),
        ("path", "/api/v2/organizations/org_1/members"),
        ("remote_address", "2001:db8::1"),
    ])
    .encode_to_vec();
    let snapshot = parts.live.load();
    let decide = || {
        let mut query = Query::default();
        wire::read(&message, &mut query).unwrap();
        let (policy, _) = snapshot.of(query.domain()).unwrap();
        let plan = policy.meet(&query, parts.clock.now());
        assert_eq!(plan.met.len(), 4);
        decision::decide(&plan, &parts.store, parts.clock.now()).unwrap().is_admitted
    };
    // The first call makes the buckets.
    assert!(decide());
    for expected in [true, false] {
        let (count, is_admitted) = allocations(decide);
        assert_eq!((count, is_admitted), (0, expected));
        while decide() {}
    }
    let answer = |tenant: &str| {
        let message = shipped(&[("tenant_type", "free"), ("tenant", tenant)]).encode_to_vec();
        parts.service.answer(&message).unwrap();
        allocations(|| parts.service.answer(&message).unwrap().is_over_limit)
    };
    let (count, is_over_limit) = answer("globex");
    eprintln!("an admitted call: {count} allocations");
    assert!(!is_over_limit && count <= 2);
    let exhausted = shipped(&[("tenant_type", "free"), ("tenant", "initech")]).encode_to_vec();
    while !parts.service.answer(&exhausted).unwrap().is_over_limit {}
    let (count, is_over_limit) = answer("initech");
    eprintln!("a denied call: {count} allocations");
    assert!(is_over_limit && count <= 2);
}
