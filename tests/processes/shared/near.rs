//! The list of buckets near their limit, where the store is shared: what this replica was told last.

use tollgate::clock::{Nanos, Timestamp};

use super::local::Replica;
use super::redis_server::Redis;
use super::support::{hits, request};

/// 2026-03-01T00:00:00Z.
const START: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

const POLICY: &str = "domain: d
tables: [{ name: t, key: [k], rows: { all: [{ per_day: 20 }] } }]
";

const DAY: Nanos = Nanos::from_secs(86_400);

fn ask(replica: &Replica, count: u64, key: &str) {
    replica.ask(&request("d", &[hits(count, &[("k", key)])]));
}

/// The keys that are listed, and how much was left of each.
fn told(replica: &Replica) -> Vec<(String, u32)> {
    let near = replica.service.recent_buckets();
    near.iter()
        .map(|seen| (seen.label.key_text()[0][1].to_string(), seen.outcome.remaining))
        .collect()
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_replica_lists_what_the_store_told_it_until_that_is_over() {
    let mut redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    let other = Replica::start(&redis, POLICY, START);
    ask(&other, 19, "one");
    assert_eq!(told(&other), [("one".to_owned(), 1)]);
    assert_eq!(told(&replica), [], "it has not asked yet");
    // The other's calls count, and are known once the store is asked.
    ask(&replica, 1, "one");
    ask(&replica, 19, "two");
    let both = [("one".to_owned(), 0), ("two".to_owned(), 1)];
    assert_eq!(told(&replica), both, "the emptiest first");
    assert_eq!(told(&other), [("one".to_owned(), 1)], "it has not asked since");
    // While the store is away, what is decided here is listed as well.
    redis.kill();
    ask(&replica, 20, "three");
    assert!(told(&replica).contains(&("three".to_owned(), 0)), "{:?}", told(&replica));
    // No bucket is asked how it stands: each goes once it must be full by itself.
    replica.clock.advance(DAY.plus(Nanos::from_secs(1)));
    assert_eq!(told(&replica), []);
}
