//! What a person sees and changes where a store is shared.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tollgate::admin::{self, Controls, Readiness};
use tollgate::listener::{Address, Listener};

use super::local::Replica;
use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{START, call, eventually, give_back, request};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

const POLICY: &str = "domain: d
tables:
  - { name: calls, key: [k], rows: { all: [{ per_day: 5 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [k], rows: { all: [{ concurrent: 2, ttl: 1h }] } }
";

const TOKEN: &str = "0123456789abcdef";

fn start(redis: &Redis) -> Tollgate {
    Tollgate::start(POLICY, &["--store", &redis.url(), "--admin-token", TOKEN])
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_bucket_is_looked_at_and_made_full_in_the_shared_store() {
    let redis = Redis::start();
    let (one, other) = (start(&redis), start(&redis));
    let (mut client, mut others) = (one.client(), other.client());
    let calls = call(&[("k", "1")]);
    (0..4).for_each(|_| assert!(client.ask(calls.clone()).is_ok()));
    // The other has never met it.
    let listed = other.get("/buckets?k=1");
    assert!(listed.contains(r#""remaining":1"#), "{listed}");
    assert_eq!(client.drain(&calls, 5).0, 1);
    let reset = one.post("/reset", TOKEN, r#"{"table":"calls","key":[["k","1"]]}"#);
    assert!(reset.contains(r#""remaining":0"#) && reset.contains(r#""already_full":0"#), "{reset}");
    assert_eq!(redis.command(&["KEYS", "*{*"]), "array([])");
    assert_eq!(client.drain(&calls, 5).0, 5);
    assert_eq!(others.drain(&calls, 5).0, 0);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_prepaid_is_told_with_what_is_left_where_it_is() {
    let redis = Redis::start();
    let policy = POLICY.replace("{ per_day: 5 }", "{ size: 100000, per_day: 10 }");
    let start = |prepaid| {
        let flags = ["--store", &redis.url(), "--store-prepaid", prepaid, "--admin-token", TOKEN];
        Tollgate::start(&policy, &flags)
    };
    let (one, other) = (start("10s"), start("off"));
    let mut client = one.client();
    (0..200).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    let event = |event| {
        let name = "tollgate_shared_store_prepaid_admissions_total";
        one.metric(&format!("{name}{{event=\"{event}\"}}"))
    };
    let unspent = event("charged") - event("spent");
    assert!(unspent > 0, "none is prepaid");
    let here = format!(r#""remaining":99800,"prepaid":{unspent},"#);
    let elsewhere = format!(r#""remaining":{},"full_at""#, 99_800 - unspent);
    let asked = r#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}]}]}"#;
    let named = r#"{"table":"calls","key":[["k","1"]]}"#;
    let told = |of: &Tollgate| {
        let explained = [("/explain", asked), ("/explain/bucket", named)]
            .map(|(path, of_it)| of.post(path, TOKEN, of_it));
        [&[of.get("/buckets?k=1")][..], &explained].concat()
    };
    for answer in told(&one) {
        assert!(answer.contains(&here), "{answer}, not {here}");
    }
    for answer in told(&other) {
        assert!(answer.contains(&elsewhere), "{answer}, not {elsewhere}");
    }
    assert!(one.get("/config").contains(r#""store_prepaid_ms":10000.0"#));
    assert!(other.get("/config").contains(r#""store_prepaid_ms":null"#));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_customer_is_reset_in_every_table_of_the_shared_store() {
    let redis = Redis::start();
    let policy = POLICY.replace(
        "  - { name: jobs",
        "  - { name: users, key: [k, user], rows: { all: [{ per_day: 3 }] } }\n  - { name: jobs",
    );
    let args = ["--store", &redis.url(), "--admin-token", TOKEN];
    let (one, other) = (Tollgate::start(&policy, &args), Tollgate::start(&policy, &args));
    let (mut client, mut others) = (one.client(), other.client());
    // Near its limit at one replica, and the second user's at the other.
    let calls = |user| call(&[("k", "1"), ("user", user)]);
    assert_eq!(client.drain(&calls("a"), 5).0, 3);
    assert_eq!(others.drain(&calls("b"), 5).0, 2);
    let reset = one.post("/reset", TOKEN, r#"{"key":[["k","1"]]}"#);
    for part in [
        r#""tables":[{"table":"calls","reset":1,"already_full":0},{"table":"users","reset":1,"already_full":0}]"#,
        r#""incomplete":[{"table":"users","missing":["user"]}]"#,
        r#""slots":["jobs"]"#,
    ] {
        assert!(reset.contains(part), "{part}: {reset}");
    }
    // The other user's bucket, of which this replica has no name.
    assert_eq!(redis.command(&["KEYS", "*{*"]).matches('{').count(), 1);
    assert_eq!(client.drain(&calls("a"), 5).0, 3);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_window_of_a_tree_is_looked_at_and_reset_in_the_shared_store() {
    let redis = Redis::start();
    let tree = "domain: d
descriptors:
  - key: user
    rate_limit: { unit: year, requests_per_unit: 5 }
    descriptors: [{ key: path, value: /pool/*, share_threshold: true, rate_limit: { unit: year, requests_per_unit: 3 } }]
";
    let args = ["--store", &redis.url(), "--admin-token", TOKEN];
    let (one, other) = (Tollgate::start(tree, &args), Tollgate::start(tree, &args));
    let (mut client, mut others) = (one.client(), other.client());
    let user = call(&[("user", "1")]);
    let pool = |path| call(&[("user", "1"), ("path", path)]);
    assert_eq!(client.drain(&user, 9).0, 5);
    assert_eq!(others.drain(&pool("/pool/a"), 9).0, 3);
    // The other has never met it.
    let listed = other.get("/buckets?user=1");
    assert!(listed.contains(r#""bucket":"5 each year","size":5,"remaining":0"#), "{listed}");
    let explained = other.post(
        "/explain/bucket",
        TOKEN,
        r#"{"table":"descriptors","key":[["user","1"],["path","/pool/b"]]}"#,
    );
    assert!(explained.contains(r#""admits":false"#), "{explained}");
    let reset = one.post("/reset", TOKEN, r#"{"table":"descriptors","key":[["user","1"]]}"#);
    assert!(reset.contains(r#""reset":1,"already_full":0"#), "{reset}");
    assert_eq!(others.drain(&user, 9).0, 5);
    assert_eq!(client.drain(&pool("/pool/c"), 9).0, 0, "another window");
    let pool_key = r#"{"table":"descriptors","key":[["user","1"],["path","/pool/d"]]}"#;
    let reset = one.post("/reset", TOKEN, pool_key);
    assert!(reset.contains(r#""reset":1,"already_full":0"#), "{reset}");
    assert_eq!(others.drain(&pool("/pool/e"), 9).0, 3);
}

/// Far more leases than a list of 4096 has room for, if those were on it that another replica has released.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn leases_that_others_have_released_take_no_room_on_the_list() {
    let redis = Redis::start();
    let policy =
        POLICY.replace("per_day: 5", "per_day: 9000").replace("concurrent: 2", "concurrent: 9000");
    let replica = Replica::start(&redis, &policy, START);
    let side = admin::serve(
        replica.runtime.block_on(Listener::bind(&Address::Tcp(LOOPBACK))).unwrap(),
        None,
        Arc::clone(replica.service.core()),
        Readiness::default(),
        Controls::default(),
        std::future::pending(),
    );
    let side = replica.runtime.spawn(side);
    let job = call(&[("k", "1"), ("job", "1")]);
    let take = |count: u64| -> Vec<String> {
        let lease = |_| replica.ask(&job).request_header("x-tollgate-lease").unwrap().to_owned();
        (0..count).map(lease).collect()
    };
    let release_all = || redis.command(&["FLUSHALL"]);
    // A sixteenth of the list is crowded from 192 on. These are some 125 each, and then 219.
    take(2000);
    let of_taking = redis.calls_of("get") / 2000;
    release_all();
    take(1500);
    replica.until("the store has been asked of each", |_| {
        redis.calls_of("get") >= of_taking * 3500 + 2000
    });
    release_all();
    let taken = take(1000);
    let leases = replica.runtime.block_on(replica.service.leases(usize::MAX));
    let listed: HashSet<_> = leases.items.iter().map(|slots| slots.lease.to_string()).collect();
    assert!(taken.iter().all(|lease| listed.contains(lease)));
    assert_eq!(leases.omitted, 0);
    // Of more than are listed it is told how many there are.
    let leases = replica.runtime.block_on(replica.service.leases(100));
    assert!(leases.items.len() == 100 && leases.omitted >= 900, "{}", leases.omitted);
    side.abort();
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn leases_are_those_that_a_replica_has_taken_and_nobody_has_released() {
    let redis = Redis::start();
    let (one, other) = (start(&redis), start(&redis));
    let (mut client, mut others) = (one.client(), other.client());
    let job = call(&[("k", "1"), ("job", "1")]);
    let leases: Vec<_> = (0..2)
        .map(|_| client.ask(job.clone()).request_header("x-tollgate-lease").unwrap().to_owned())
        .collect();
    let listed = one.get_with("/leases", TOKEN);
    assert!(leases.iter().all(|lease| listed.contains(&**lease)), "{listed}");
    assert!(
        listed.contains(
            r#""table":"jobs","row":"all","key":[["k","1"]],"truncated":false,"shadow":false,"slots":1"#
        ),
        "{listed}"
    );
    assert!(other.get_with("/leases", TOKEN).contains(r#""items":[]"#));
    // By its holder, at another replica.
    others.ask(request("d", &[give_back(1, &[("lease", &leases[0])])]));
    eventually("it is off the list", || !one.get_with("/leases", TOKEN).contains(&*leases[0]));
    let released = other.post("/leases/release", TOKEN, &format!(r#"{{"lease":"{}"}}"#, leases[1]));
    assert!(released.contains(r#""released":"#), "{released}");
    assert!(one.get_with("/leases", TOKEN).contains(r#""items":[]"#));
}
