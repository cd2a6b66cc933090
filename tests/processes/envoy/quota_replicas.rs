//! Envoys that limit by their shares, and two tollgates over one Redis, of which one ends: its Envoy goes to the other one
//! without a burst.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::http::Client;
use super::lab::{envoy, page, start_envoy};
use super::process::{Running, Tollgate, eventually};
use super::redis_server::Redis;
use super::rolling::{End, local, with_ports, with_replicas};

/// As many a second, and at once.
const LIMIT: f64 = 40.0;

const POLICY: &str = "domain: management-api
tables:
  - { name: tenants, key: [tenant], rows: { all: [{ per_second: 40 }] } }
  - name: groups
    key: [tenant]
    select: endpoint_group
    rows: { rotate_signing_keys: [{ per_day: 5 }], default: unlimited }";

const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const USERS: &str = "GET /api/v2/users";

struct Replica {
    tollgate: Tollgate,
    _folder: tempfile::TempDir,
}

impl Replica {
    fn start(redis: &Redis) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.yaml");
        std::fs::write(&policy, POLICY).unwrap();
        let (policy, store) = (policy.to_str().unwrap().to_owned(), redis.url());
        let flags = ["--store".to_owned(), store, "--drain-delay".to_owned(), "2s".to_owned()];
        let tollgate = Tollgate::serve(&policy, local(), folder.path(), &flags);
        Self { tollgate, _folder: folder }
    }

    /// The rates that it has assigned to Envoys of a tenant and told them.
    fn rates(&self, tenant: &str) -> Vec<f64> {
        let shares = page(self.tollgate.http, "/shares");
        let shares = shares["items"].as_array().unwrap().iter();
        let of_tenant = shares
            .filter(|share| share["id"].as_array().unwrap().iter().any(|entry| entry[1] == tenant));
        let rates =
            of_tenant.map(|share| share["assignment"]["token_bucket"]["per_second"].as_f64());
        rates.flatten().collect()
    }
}

/// The sample, whose stream goes to one of the first replicas, and to one of the others if none of them is healthy.
struct Edge {
    _envoy: Running,
    _folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Edge {
    fn start(first: &[SocketAddr], then: &[SocketAddr]) -> Self {
        let text = std::fs::read_to_string("envoy/quota.yaml").unwrap();
        let [edge, admin, upstream] = std::array::from_fn(|_| local());
        let text = with_ports(text, [(10000, edge), (9901, admin), (9000, upstream)]);
        let folder = tempfile::tempdir().unwrap();
        let config = with_replicas(&text, &[first, then]);
        let envoy = start_envoy(&envoy(), &config, admin, folder.path());
        Self { _envoy: envoy, _folder: folder, address: edge }
    }

    /// The status of a tenant's call.
    fn call(&self, endpoint: &str, tenant: &str) -> u16 {
        let headers = [("x-tenant", tenant), ("x-tenant-type", "free")];
        Client::connect(self.address).call(endpoint, &headers).status()
    }
}

/// Calls until it is over. Returns when calls passed, in seconds since `start`.
fn passes(edge: &Edge, start: Instant, is_over: &AtomicBool) -> Vec<f64> {
    let mut client = Client::connect(edge.address);
    let mut passed = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let headers = [("x-tenant", "busy"), ("x-tenant-type", "free")];
        if client.call(USERS, &headers).status() == 200 {
            passed.push(start.elapsed().as_secs_f64());
        }
        std::thread::sleep(std::time::Duration::from_millis(8));
    }
    passed
}

/// The most calls beyond the limit, over any time.
fn worst_excess(mut passes: Vec<f64>) -> f64 {
    passes.sort_by(f64::total_cmp);
    let (mut left, mut at, mut worst) = (LIMIT, 0.0, 0.0_f64);
    for pass in passes {
        left = (left + LIMIT * (pass - at)).min(LIMIT) - 1.0;
        at = pass;
        worst = worst.max(-left);
    }
    worst
}

#[test]
#[ignore = "needs Envoy and Redis; bash tests/run.sh"]
fn an_envoy_goes_to_another_replica_without_a_burst() {
    let redis = Redis::start();
    let [mut ending, staying] = [(); 2].map(|()| Replica::start(&redis));
    let addresses = [&ending, &staying].map(|replica| replica.tollgate.grpc);
    // The first prefers the replica that ends, and the second has its stream at the other one.
    let edges = [Edge::start(&[addresses[0]], &[addresses[1]]), Edge::start(&addresses[1..], &[])];
    let is_half = |replica: &Replica, count: usize| {
        let rates = replica.rates("busy");
        let is_half = |rate: &f64| (LIMIT * 0.4..=LIMIT * 0.6).contains(rate);
        (rates.len() == count && rates.iter().all(is_half)).then_some(())
    };
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let passed: Vec<f64> = std::thread::scope(|scope| {
        let end = End(&is_over);
        let loads: Vec<_> =
            edges.iter().map(|edge| scope.spawn(|| passes(edge, start, &is_over))).collect();
        eventually("half of it at each", || is_half(&ending, 1).and(is_half(&staying, 1)));
        // Five a day, which are used up.
        eventually("a denial", || (edges[0].call(ROTATE, "acme") == 429).then_some(()));
        eventually("it is listed", || (ending.rates("acme").len() == 1).then_some(()));

        ending.tollgate.process.signal("TERM");
        assert!(ending.tollgate.process.wait().success());
        eventually("shares at the other replica", || {
            assert_eq!(edges[0].call(ROTATE, "acme"), 429, "a second burst");
            is_half(&staying, 2).filter(|()| staying.rates("acme").len() == 1)
        });
        assert_eq!(edges[0].call(ROTATE, "acme"), 429, "a second burst");
        let told = start.elapsed().as_secs_f64();
        eventually("some seconds", || (start.elapsed().as_secs_f64() > told + 3.0).then_some(()));
        drop(end);
        loads.into_iter().flat_map(|load| load.join().unwrap()).collect()
    });
    let span = start.elapsed().as_secs_f64();
    let worst = worst_excess(passed.clone());
    assert!(worst <= 15.0, "{worst} beyond the limit");
    assert!(passed.len() as f64 > LIMIT * span * 0.5, "{} in {span} s", passed.len());
}
