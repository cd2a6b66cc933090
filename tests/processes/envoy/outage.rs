//! tollgate away, back, and away again: what Envoy's clients notice.

#![allow(clippy::disallowed_types, reason = "Envoy's timeouts are in real time")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::http::{Client, Upstream};
use super::lab::{Lab, Sample, assert_admitted, assert_denied};
use super::process::eventually;

const CALLER: [(&str, &str); 2] = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
/// Five a day.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const ERRORS: &str = "cluster.upstream.ratelimit.error";

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn calls_pass_while_tollgate_is_dead_and_are_limited_once_it_is_back() {
    let upstream = Upstream::listen();
    let sample = Sample::front().patient().upstream(upstream.address);
    let mut lab = Lab::start(sample);
    let mut client = lab.client();
    assert_eq!(client.drain(ROTATE, &CALLER, 5).0, 5);
    assert_eq!(lab.stat(ERRORS), 0);

    lab.tollgate.process.kill();
    for _ in 0..20 {
        let answer = client.call(ROTATE, &CALLER);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let limits = answer.headers.iter().filter(|(name, _)| name.starts_with("x-ratelimit"));
        assert_eq!(limits.count(), 0, "nobody counted, and the upstream's word is not ours");
    }
    assert_eq!(lab.stat(ERRORS), 20);

    lab.restart_tollgate();
    let (admitted, denial) = client.drain(ROTATE, &CALLER, 5);
    assert_eq!(admitted, 5, "the first call already counts");
    assert!(assert_denied(&denial).contains("5 per day"));
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_restart_under_load_shows_no_client_an_error() {
    let mut lab = Lab::start(Sample::front().patient());
    let (edge, load) = (lab.edge, Load::default());
    let answers = std::thread::scope(|scope| {
        let end = End(&load);
        let clients = ["acme", "globex", "hooli", "initech"];
        let clients = clients.map(|tenant| scope.spawn(|| load.run(edge, tenant)));
        load.wait_for_more();
        lab.tollgate.process.signal("TERM");
        assert!(lab.tollgate.process.wait().success());
        lab.restart_tollgate();
        load.wait_for_more();
        drop(end);
        clients.map(|client| client.join().unwrap())
    });
    for seen in answers {
        assert!(seen.keys().eq(&[200, 429]), "{seen:?}");
    }
}

/// Ten a minute: as many calls as the load makes meet that limit on a slow machine too.
const KIND: &str = "enterprise_non_production";

#[derive(Debug, Default)]
struct Load {
    /// Answers that tollgate had its say in.
    counted: AtomicU64,
    is_over: AtomicBool,
}

/// Ends the load, also when the test has failed: its scope waits for the clients.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Calls until the load is over; how often it got each status.
    fn run(&self, edge: SocketAddr, tenant: &str) -> BTreeMap<u16, u64> {
        let mut client = Client::connect(edge);
        let mut seen = BTreeMap::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let caller = [("x-tenant", tenant), ("x-tenant-type", KIND)];
            let answer = client.call("GET /api/v2/users", &caller);
            *seen.entry(answer.status()).or_default() += 1;
            if answer.header("x-ratelimit-limit").is_some() {
                self.counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        seen
    }

    /// Waits until the clients have got 400 more answers of tollgate's.
    fn wait_for_more(&self) {
        let enough = self.counted.load(Ordering::Relaxed) + 400;
        eventually("400 answers of tollgate's", || {
            (self.counted.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

mod wall_clock {
    use super::*;

    #[test]
    #[ignore = "needs Envoy and measures time; bash tests/run.sh clock"]
    fn a_tollgate_that_hangs_costs_a_call_the_timeout_and_no_more() {
        let mut lab = Lab::start(Sample::front());
        let mut client = lab.client();
        let mut count_once = || {
            eventually("an answer of tollgate's", || {
                let answer = client.call("GET /api/v2/users", &CALLER);
                answer.header("x-ratelimit-limit").is_some().then(|| assert_admitted(&answer))
            });
        };
        count_once();
        lab.tollgate.process.signal("STOP");
        let asked = Instant::now();
        let answer = lab.client().call("GET /api/v2/users", &CALLER);
        let taken = asked.elapsed();
        assert_eq!((answer.status(), answer.header("x-ratelimit-limit")), (200, None));
        assert!(
            (Duration::from_millis(240)..Duration::from_secs(10)).contains(&taken),
            "{taken:?}"
        );
        lab.tollgate.process.signal("CONT");
        count_once();
    }
}
