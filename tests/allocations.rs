//! What a call allocates, counted: one test at a time, since the counter is the process's. A program of its own,
//! since dhat is its allocator.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod support;

use parking_lot::Mutex;
use prost::Message;
use support::{Parts, SHIPPED, START, hits, request, shipped, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::config::ratelimit::Settings;
use tollgate::descriptor::Query;
use tollgate::limit::Counting;
use tollgate::mapping::Requests;
use tollgate::observe::recent_buckets::{NOTE_INTERVAL, RecentBuckets};
use tollgate::observe::top_denied::DenialCounts;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::MemoryStore;
use tollgate::{config, decision, wire};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

static COUNTER: Mutex<()> = Mutex::new(());

fn allocations<T>(run: impl FnOnce() -> T) -> (u64, T) {
    let before = dhat::HeapStats::get().total_blocks;
    let result = run();
    (dhat::HeapStats::get().total_blocks - before, result)
}

/// A token with the payload `{"sub":"ann","scope":"read:current_user"}`.
const TOKEN: &[u8] = b"Bearer e30.eyJzdWIiOiJhbm4iLCJzY29wZSI6InJlYWQ6Y3VycmVudF91c2VyIn0.x";

#[test]
fn a_line_of_a_log_becomes_a_request_without_an_allocation() {
    let _alone = COUNTER.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let text = r#"
descriptor:
  tenant: $x_tenant
  tenant_type: { from: $x_tenant, lookup: tiers.csv, default: free }
  path: $path
  board: { from: $path, match: "/api/dashboard/([^/?]+)", optional: true }
  remote_address: { from: $x_forwarded_for, hop: -1 }
  user: { from: $authorization, jwt: sub }
  scope: { from: $authorization, jwt: scope, match: "[a-z]+:(current_user)" }
hits: { from: $bytes_sent, divide: 1024 }
skip: { path: /healthz*, $user_agent: kube-probe }
"#;
    let source = config::Source { name: "map.yaml".into(), text: text.into() };
    let tables = |_: &std::path::Path| Ok("acme,paid\n".to_owned());
    let mapping = config::mapping::compile(&source, &[], "".as_ref(), &tables).unwrap();
    let line = |path: &'static [u8]| {
        let value = |name: &String| -> Option<&'static [u8]> {
            match &**name {
                "x_tenant" => Some(b"acme"),
                "path" => Some(path),
                "x_forwarded_for" => Some(b"10.0.0.1, 192.0.2.1"),
                "authorization" => Some(TOKEN),
                "bytes_sent" => Some(b"5000"),
                _ => None,
            }
        };
        mapping.fields().iter().map(value).collect::<Vec<_>>()
    };
    let lines = [line(b"/api/dashboard/sales?x=1"), line(b"/other"), line(b"/api/dashboard/y")];
    let (mut scratch, mut requests) = (mapping.scratch(), Requests::default());
    let mut read = || {
        requests.clear();
        let mut entries = 0;
        for (number, values) in lines.iter().enumerate() {
            mapping.read(values, &mut scratch, &mut requests).unwrap();
            let mut query = Query::default();
            requests.query(number, &mapping, "d", &mut query).unwrap();
            entries += query.descriptors().map(|of| of.entries().len()).sum::<usize>();
        }
        entries
    };
    // The first lines make the buffers.
    assert_eq!(read(), 7 + 6 + 7);
    let (count, entries) = allocations(&mut read);
    assert_eq!((count, entries), (0, 7 + 6 + 7));
}

#[test]
fn a_call_allocates_nothing_before_its_verdict_and_little_after() {
    let _alone = COUNTER.lock();
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
    let snapshot = parts.policies.load();
    let decide = || {
        let mut query = Query::default();
        wire::decode_into(&message, &mut query).unwrap();
        let policy = &snapshot.get(query.domain()).unwrap().policy;
        let plan = policy.resolve(&query, parts.clock.now());
        assert_eq!(plan.matched.len(), 4);
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
        parts.answer(&message).unwrap();
        allocations(|| parts.answer(&message).unwrap().is_over_limit)
    };
    let (count, is_over_limit) = answer("globex");
    eprintln!("an admitted call: {count} allocations");
    assert!(!is_over_limit && count <= 2);
    let exhausted = shipped(&[("tenant_type", "free"), ("tenant", "initech")]).encode_to_vec();
    while !parts.answer(&exhausted).unwrap().is_over_limit {}
    let (count, is_over_limit) = answer("initech");
    eprintln!("a denied call: {count} allocations");
    assert!(is_over_limit && count <= 2);
}

#[test]
fn a_decision_of_a_descriptor_tree_allocates_nothing() {
    let _alone = COUNTER.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let tree = "domain: d
descriptors:
  - key: route
    value: checkout
    descriptors:
      - key: tenant
        descriptors:
          - key: method
            value: GET
            descriptors:
              - key: path
                value: /v1/*
                descriptors:
                  - key: remote_address
                    rate_limit: { unit: day, requests_per_unit: 5 }
";
    let entries = [
        ("route", "checkout"),
        ("tenant", "acme"),
        ("method", "GET"),
        ("path", "/v1/things/th_8f3a"),
        ("remote_address", "203.0.113.7"),
    ];
    for counting in [Counting::Each, Counting::SpareOthers, Counting::AllOrNone] {
        let mut settings = Settings::default();
        settings.tree.counting = counting;
        let compiled =
            config::compile_with_settings(&source(tree), FingerprintKey::fixed(7), &settings);
        let policies = compiled.unwrap().policies;
        let policy = policies.get("d").unwrap();
        // One descriptor, and equal ones, which meet one window.
        for asked in [1, 2] {
            let store = MemoryStore::new(100_000);
            let message = request("d", &vec![hits(1, &entries); asked]).encode_to_vec();
            let decide = || {
                let mut query = Query::default();
                wire::decode_into(&message, &mut query).unwrap();
                let plan = policy.resolve(&query, START);
                assert_eq!(plan.matched.len(), asked);
                decision::decide(&plan, &store, START).unwrap().is_admitted
            };
            // The first call makes the bucket.
            assert!(decide());
            for expected in [true, false] {
                let (count, is_admitted) = allocations(decide);
                assert_eq!((count, is_admitted), (0, expected), "{counting:?}, {asked}");
                while decide() {}
            }
        }
    }
}

#[test]
fn a_bucket_near_its_limit_allocates_when_it_is_listed_and_not_again() {
    let _alone = COUNTER.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let policy = "domain: d\ntables: [{ name: t, key: [k], rows: { always: [{ per_day: 20 }] } }]";
    let parts = Parts::new(&source(policy), 100_000);
    let (near, snapshot) = (RecentBuckets::default(), parts.policies.load());
    let policy = &snapshot.get("d").unwrap().policy;
    // How many allocations it takes to note a call, and when its bucket was noted last.
    let note = |key: &str, count| {
        let message = request("d", &[hits(count, &[("k", key)])]).encode_to_vec();
        let query = wire::decode(&message).unwrap();
        let now = parts.clock.now();
        let plan = policy.resolve(&query, now);
        let verdict = decision::decide(&plan, &parts.store, now).unwrap();
        let (count, ()) = allocations(|| near.record(policy, &query, &verdict, now));
        (count, near.get(plan.matched[0].fingerprint).map(|seen| seen.at))
    };
    let first = parts.clock.now();
    assert_eq!(note("one", 1), (0, None), "far from its limit");
    let (count, noted) = note("one", 19);
    assert!(count > 0 && noted == Some(first), "{count}");
    parts.clock.advance(NOTE_INTERVAL);
    // It is noted again, in its place.
    assert_eq!(note("one", 1), (0, Some(parts.clock.now())));
    assert_eq!(note("one", 1), (0, Some(parts.clock.now())));
    let (count, _) = note("two", 20);
    assert!(count > 0, "another is not in the list");
}

#[test]
fn a_denial_allocates_for_a_bucket_that_is_new_in_its_minute_and_not_again() {
    let _alone = COUNTER.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let policy = "domain: d\ntables: [{ name: t, key: [k], rows: { all: blocked } }]";
    let parts = Parts::new(&source(policy), 100_000);
    let (counts, snapshot) = (DenialCounts::default(), parts.policies.load());
    let policy = &snapshot.get("d").unwrap().policy;
    let deny = |key: &str| {
        let message = request("d", &[hits(1, &[("k", key)])]).encode_to_vec();
        let query = wire::decode(&message).unwrap();
        let now = parts.clock.now();
        let plan = policy.resolve(&query, now);
        let verdict = decision::decide(&plan, &parts.store, now).unwrap();
        allocations(|| counts.record(policy, &query, &verdict, now)).0
    };
    assert!(deny("one") > 0);
    assert_eq!([deny("one"), deny("one")], [0, 0]);
    let known = counts.top(false, None, 1, parts.clock.now()).buckets.remove(0).label;
    parts.clock.advance(Nanos::from_secs(60));
    deny("one");
    let again = counts.top(false, None, 1, parts.clock.now()).buckets.remove(0);
    assert!(std::sync::Arc::ptr_eq(&known, &again.label), "its name is not made again");
    assert_eq!((again.count, deny("one")), (4, 0));
}
