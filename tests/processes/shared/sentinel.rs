//! A primary, its replica, and a sentinel that watches both.

use super::process::Tollgate;
use super::redis_server::Redis;
use super::replicas::Hammer;
use super::support::{call, eventually};

const DAILY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 200 }] } }]\n";

mod wall_clock {
    use super::*;

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn where_the_primary_is_killed_its_replica_takes_over_with_what_was_charged() {
        let mut primary = Redis::start();
        let port = primary.address.port().to_string();
        let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
        let sentinel = Redis::sentinel(&format!(
            "sentinel monitor main 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 2000\n"
        ));
        eventually("the sentinel knows the replica", || {
            sentinel.command(&["SENTINEL", "REPLICAS", "main"]).contains("flags")
        });
        eventually("the replica follows", || {
            replica.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let url = format!("redis+sentinel://{}/main", sentinel.address);
        let flags = ["--store", &url, "--store-timeout", "50ms", "--store-prepaid", "off"];
        let tollgate = Tollgate::start(DAILY, &flags);
        let mut client = tollgate.client();
        (0..20).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
        assert_eq!(tollgate.metric("tollgate_shared_store_local_decisions_total"), 0);
        eventually("the replica has it", || replica.command(&["KEYS", "*{*"]) != "array([])");
        let copied = primary.command(&["WAIT", "1", "5000"]);
        assert_eq!(copied, "int(1)");
        let hammer = Hammer::run(&tollgate, "during", |hammer| {
            primary.kill();
            hammer.ask_for("during", 100);
            eventually("the replica is the primary", || {
                // It ends all connections then.
                replica.try_command(&["ROLE"]).is_ok_and(|role| role.contains("master"))
            });
            eventually("the store is back", || tollgate.get("/readyz") == "ready\n");
            hammer.ask_for("after", 300);
        });
        // Meanwhile it is decided here, and each of the two has one budget.
        let admitted = hammer.judge("a failover", "during");
        assert!((200..=400).contains(&admitted), "{admitted}");
        assert_eq!(hammer.judge("a failover", "after"), 200);
        assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [179]);
    }
}
