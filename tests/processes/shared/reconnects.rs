//! A store that is well, over a connection that is dead: it goes on deciding.

use std::time::Duration;

use super::local::Replica;
use super::redis_server::Redis;
use super::support::{START, call};

const POLICY: &str = "domain: d
tables: [{ name: t, key: [k], rows: { all: [{ per_day: 20 }] } }]
";

impl Replica {
    /// Lets time pass for connections, which go by the runtime's clock.
    fn pass(&self, span: Duration) {
        self.runtime.block_on(async {
            tokio::time::pause();
            tokio::time::advance(span).await;
            tokio::time::resume();
        });
    }
}

/// Closes every connection, as a server does with those that are idle.
fn close_connections(redis: &Redis) {
    assert_eq!(redis.command(&["CLIENT", "KILL", "TYPE", "normal"]), "int(1)");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_call_that_finds_its_connection_closed_is_decided_by_the_store() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    let asked = call(&[("k", "1")]);
    assert_eq!(replica.ask(&asked).remaining(), [19]);
    for left in [18, 17, 16] {
        close_connections(&redis);
        assert_eq!(replica.ask(&asked).remaining(), [left]);
        assert_eq!(replica.remembered_and_local(), (0, 0));
        // Calls wait for a new connection once a second.
        replica.pass(Duration::from_secs(2));
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_server_that_was_restarted_between_two_calls_costs_no_decision() {
    let mut redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    let asked = call(&[("k", "1")]);
    assert_eq!(replica.ask(&asked).remaining(), [19]);
    redis.kill();
    redis.spawn();
    // It has lost what it had.
    assert_eq!(replica.ask(&asked).remaining(), [19]);
    assert_eq!(replica.ask(&asked).remaining(), [18]);
    assert_eq!(replica.remembered_and_local(), (0, 0));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_server_that_is_gone_is_not_waited_for() {
    let mut redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    let asked = call(&[("k", "1")]);
    assert_eq!(replica.ask(&asked).remaining(), [19]);
    redis.kill();
    assert_eq!(replica.ask(&asked).remaining(), [18]);
    assert_eq!(replica.remembered_and_local(), (0, 1));
    assert!(replica.service.core().is_degraded());
}

/// Servers and load balancers close connections on which nothing is sent.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_connection_without_calls_is_not_idle() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, POLICY, START);
    assert_eq!(redis.calls_of("ping"), 0);
    replica.pass(Duration::from_secs(16));
    replica.until("a ping", |_| redis.calls_of("ping") == 1);
    // A ping that finds the connection closed has it made again, before there is a call.
    close_connections(&redis);
    replica.pass(Duration::from_secs(16));
    replica.until("a new connection", |_| redis.calls_of("function|load") == 2);
    assert_eq!(replica.ask(&call(&[("k", "1")])).remaining(), [19]);
    assert!(!replica.service.core().is_degraded());
}
