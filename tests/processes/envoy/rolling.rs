//! Replicas that are restarted one after another, as in a roll-out, while Envoy asks them: nobody notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_yaml::Value;

use super::http::Client;
use super::lab::{envoy, start_envoy};
use super::process::{Tollgate, eventually, free_port};

const RESTARTS: usize = 10;

/// More than any load of a test's.
const POLICY: &str = "domain: management-api
tables: [{ name: t, key: [tenant], rows: { all: [{ per_second: 1000000 }] } }]";

pub(super) fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// A replica that has two seconds for Envoy to notice that it ends. Envoy may take one to tell its own threads
/// what the health check found (`update_merge_window`).
fn replica(grpc: SocketAddr) -> (Tollgate, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let (policy, grpc) = (policy.to_str().unwrap(), grpc.to_string());
    let arguments = ["serve", "--config", policy, "--http", "127.0.0.1:0", "--grpc", &grpc];
    let delay = ["--drain-delay", "2s"];
    (Tollgate::start("tollgate", &[&arguments[..], &delay].concat(), folder.path()), folder)
}

/// A sample with other ports.
pub(super) fn with_ports(text: String, ports: [(u16, SocketAddr); 3]) -> String {
    ports.into_iter().fold(text, |text, (old, new)| {
        with(text, &format!("port_value: {old} }}"), &format!("port_value: {} }}", new.port()))
    })
}

fn with(text: String, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the sample no longer has {old:?}");
    text.replace(old, new)
}

/// A sample with these replicas, by priority, and with their health asked for as much more often as their delay is shorter.
pub(super) fn with_replicas(text: &str, replicas: &[&[SocketAddr]]) -> String {
    let mut config: Value = serde_yaml::from_str(text).unwrap();
    let clusters = config["static_resources"]["clusters"].as_sequence_mut().unwrap();
    let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == "tollgate").unwrap();
    let check = &mut cluster["health_checks"][0];
    for interval in ["interval", "no_traffic_interval"] {
        assert_eq!(check[interval], "1s");
        check[interval] = "0.1s".into();
    }
    let endpoints = cluster["load_assignment"]["endpoints"].as_sequence_mut().unwrap();
    let sample = endpoints.pop().unwrap();
    for (priority, replicas) in replicas.iter().enumerate() {
        let mut of_priority = sample.clone();
        of_priority["priority"] = priority.into();
        let of_replica = |replica: &SocketAddr| {
            let mut endpoint = sample["lb_endpoints"][0].clone();
            endpoint["endpoint"]["address"]["socket_address"]["port_value"] = replica.port().into();
            endpoint
        };
        of_priority["lb_endpoints"] = replicas.iter().map(of_replica).collect();
        endpoints.push(of_priority);
    }
    serde_yaml::to_string(&config).unwrap()
}

/// Ends the load, also when the test has failed: its scope waits for the clients.
pub(super) struct End<'a>(pub(super) &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls until it is over. Each must pass, and tollgate must have had its say in it.
fn call(edge: SocketAddr, is_over: &AtomicBool, called: &AtomicU64) {
    let mut client = Client::connect(edge);
    while !is_over.load(Ordering::Relaxed) {
        let answer = client.call("GET /api/v2/users", &[("x-tenant", "acme")]);
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.header("x-ratelimit-limit").is_some(), "nobody counted: {answer:?}");
        called.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until Envoy takes a replica for healthy.
fn wait_until_healthy(admin: SocketAddr, replica: SocketAddr) {
    let line = format!("{replica}::health_flags::healthy");
    eventually(&line, || {
        let clusters = Client::connect(admin).call("GET /clusters", &[]).body;
        clusters
            .lines()
            .any(|told| told.starts_with("tollgate::") && told.ends_with(&line))
            .then_some(())
    });
}

#[test]
#[ignore = "needs Envoy and Redis; bash tests/run.sh"]
fn ten_restarts_in_turn_under_load_are_noticed_by_nobody() {
    let envoy = envoy();
    let addresses = [local(), local()];
    let mut replicas = addresses.map(replica);
    let [edge, admin, upstream] = std::array::from_fn(|_| local());
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("envoy/envoy.yaml").unwrap();
    let text = with(text, "timeout: 0.25s", "timeout: 20s");
    let text = with_ports(text, [(10000, edge), (9901, admin), (9000, upstream)]);
    let config = with_replicas(&text, &[&addresses]);
    let _envoy = start_envoy(&envoy, &config, admin, folder.path());
    for address in addresses {
        wait_until_healthy(admin, address);
    }
    let (is_over, called) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let end = End(&is_over);
        let clients = [(); 2].map(|()| scope.spawn(|| call(edge, &is_over, &called)));
        for restart in 0..RESTARTS {
            let (place, address) = (&mut replicas[restart % 2], addresses[restart % 2]);
            let before = called.load(Ordering::Relaxed);
            place.0.process.signal("TERM");
            assert!(place.0.process.wait().success());
            *place = replica(address);
            wait_until_healthy(admin, address);
            eventually("more calls", || (called.load(Ordering::Relaxed) > before).then_some(()));
        }
        drop(end);
        for client in clients {
            client.join().unwrap();
        }
    });
    let stat = |name: &str| -> u64 {
        let answer = Client::connect(admin).call(&format!("GET /stats?filter=^{name}$"), &[]).body;
        answer.trim().rsplit_once(": ").map_or(0, |(_, value)| value.parse().unwrap())
    };
    assert_eq!(stat("cluster.upstream.ratelimit.error"), 0);
    assert_eq!(stat("cluster.upstream.ratelimit.ok"), called.load(Ordering::Relaxed));
}
