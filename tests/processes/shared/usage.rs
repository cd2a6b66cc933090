//! Budgets that are charged whatever is left, over replicas, on a cluster, and while the store is away.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cluster;
use super::local::Replica;
use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{START, give_back, hits, request};

const POLICY: &str = "domain: d
tables:
  - { name: requests, when: { ask: { present: true } }, key: [user], rows: { all: [{ per_day: 10 }] } }
  - { name: tokens, charge: always, key: [user], rows: { all: [{ per_day: 1000 }] } }
";

const ANN: &[(&str, &str)] = &[("user", "ann")];
const ASKED: &[(&str, &str)] = &[("user", "ann"), ("ask", "1")];

/// Whether a request with these hits is admitted, and what is left.
fn charge(replica: &Replica, count: u64) -> (bool, u32) {
    let answer = replica.ask(&request("d", &[hits(count, ANN)]));
    (answer.is_ok(), answer.remaining()[0])
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_remembered_denial_answers_questions_and_loses_no_charge() {
    let redis = Redis::start();
    let [one, other] = [(); 2].map(|()| Replica::start(&redis, POLICY, START));
    assert_eq!(charge(&one, 1200), (true, 0));
    assert_eq!(charge(&one, 0), (false, 0));
    assert_eq!(charge(&one, 0), (false, 0));
    let (remembered, _) = one.remembered_and_local();
    assert_eq!(remembered, 2, "questions are answered by what is known");
    // What other responses have used meanwhile is charged in the store, and every replica knows it.
    assert_eq!(charge(&one, 100), (false, 0));
    let answer = other.ask(&request("d", &[give_back(299, ANN)]));
    assert!(answer.is_ok());
    assert_eq!(charge(&other, 0), (false, 0));
    other.ask(&request("d", &[give_back(2, ANN)]));
    assert_eq!(charge(&other, 0), (true, 1));
    assert_eq!(one.remembered_and_local(), (2, 0));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_request_that_another_bucket_denies_is_charged() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    let both = |count| replica.ask(&request("d", &[hits(count, ASKED)]));
    assert!(both(10).is_ok());
    // This denial is remembered, and what it charges is charged each time.
    for left in [985, 980, 975] {
        let denial = both(5);
        assert_eq!((denial.is_ok(), denial.denied_by().0), (false, "requests"));
        assert_eq!(charge(&replica, 0), (true, left));
    }
    assert_eq!(charge(&replica, 2000), (true, 0));
    assert_eq!(both(1).denied_by().0, "tokens");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn replicas_that_settle_at_once_lose_no_charge() {
    let redis = Redis::start();
    let policy = POLICY.replace("1000", "1000000");
    let url = redis.url();
    let more = ["--store", &url, "--store-timeout", "5s"];
    let replicas: Vec<_> = (0..4).map(|_| Tollgate::start(&policy, &more)).collect();
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (number, replica) in (0_u64..).zip(&replicas) {
            let spent = &spent;
            scope.spawn(move || {
                let mut client = replica.client();
                for round in 0..150 {
                    let (estimate, used) =
                        (1 + (round + number) % 9, 1 + round * (number + 2) % 13);
                    client.ask(request("d", &[hits(estimate, ASKED)]));
                    let settled = match used.checked_sub(estimate) {
                        Some(more) => hits(more, ANN),
                        None => give_back(estimate - used, ANN),
                    };
                    client.ask(request("d", &[settled]));
                    spent.fetch_add(used, Ordering::Relaxed);
                }
            });
        }
    });
    let mut client = replicas[0].client();
    let left = client.ask(request("d", &[hits(0, ANN)])).remaining()[0];
    // A token is gained in 86.4 ms, which the test may take some of.
    let charged = 1_000_000 - u64::from(left);
    let spent = spent.into_inner();
    assert!(spent > 3_000 && charged <= spent && spent - charged < 1_200, "{charged} of {spent}");
    let local: u64 = replicas
        .iter()
        .map(|replica| replica.metric("tollgate_shared_store_local_decisions_total"))
        .sum();
    assert_eq!(local, 0, "some were decided without the store");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn on_a_cluster_a_charge_stays_where_another_server_denies() {
    let servers = cluster::with(&[]);
    let policy = "domain: d
tables:
  - { name: tokens, charge: always, key: [tenant], rows: { all: [{ per_day: 1000 }] } }
  - { name: address, key: [remote_address], rows: { all: [{ per_day: 3 }] } }
";
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(policy, &["--store", &seeds, "--store-timeout", "5s"]);
    let mut client = replica.client();
    let address = ("remote_address", "10.0.0.1");
    assert!(client.ask(request("d", &[hits(3, &[("tenant", "a"), address])])).is_ok());
    // On whichever server they are, before the one that denies or behind it.
    for number in 0..20 {
        let tenant = ("tenant", &*format!("tenant-{number}"));
        let denied = client.ask(request("d", &[hits(7, &[tenant, address])]));
        assert_eq!((denied.is_ok(), denied.denied_by().0), (false, "address"));
        let left = client.ask(request("d", &[hits(0, &[tenant])])).remaining();
        assert_eq!(left, [993], "tenant {number}");
        // And those that deny charge nothing elsewhere.
        client.ask(request("d", &[hits(2000, &[tenant])]));
        let other = ("remote_address", &*format!("10.0.1.{number}"));
        assert!(!client.ask(request("d", &[hits(1, &[tenant, other])])).is_ok());
        assert_eq!(client.ask(request("d", &[hits(0, &[other])])).remaining(), [3]);
    }
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn while_the_store_is_away_a_replica_charges_its_share_and_owes_what_it_was_seen_to_owe() {
    let mut redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    assert_eq!(charge(&replica, 1500), (true, 0));
    redis.kill();
    // 500 are owed, as was seen; more is charged here.
    assert_eq!(charge(&replica, 0), (false, 0));
    assert!(replica.ask(&request("d", &[give_back(500, ANN)])).is_ok());
    assert_eq!(charge(&replica, 0), (false, 0));
    replica.ask(&request("d", &[give_back(1, ANN)]));
    assert_eq!(charge(&replica, 3), (true, 0));
    assert_eq!(charge(&replica, 0), (false, 0));
    assert!(replica.service.core().is_degraded());
}
