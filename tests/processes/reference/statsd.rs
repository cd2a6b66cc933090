//! What is sent to statsd and DogStatsD: the same names, of the same types, with the same tags, and of counters the same
//! sums.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;

use super::metrics;
use super::process::eventually;
use super::sides::{Deployment, Service, Sides, Store};
use super::support::{descriptor, hits, request};

/// How statistics are sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Tcp,
    Udp,
    Dog,
}

impl Way {
    /// The variables that ask for it.
    fn environment(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Tcp => vec![("USE_STATSD", "true")],
            Self::Udp => vec![("USE_STATSD", "true"), ("STATSD_PROTOCOL", "udp")],
            Self::Dog => vec![("USE_STATSD", "false"), ("USE_DOG_STATSD", "true")],
        }
    }
}

/// Takes the statistics of one service.
struct Listener {
    address: SocketAddr,
    /// All that came, in lines.
    text: Arc<Mutex<Vec<u8>>>,
}

impl Listener {
    fn new(way: Way) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&text);
        let address = match way {
            Way::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                // One connection at a time, until the test ends.
                std::thread::spawn(move || {
                    for stream in listener.incoming() {
                        let mut stream = stream.unwrap();
                        let mut buffer = [0; 65_536];
                        while let Ok(length @ 1..) = stream.read(&mut buffer) {
                            to.lock().extend(&buffer[..length]);
                        }
                    }
                });
                address
            }
            Way::Udp | Way::Dog => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let address = socket.local_addr().unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    while let Ok(length) = socket.recv(&mut buffer) {
                        let mut text = to.lock();
                        text.extend(&buffer[..length]);
                        text.push(b'\n');
                    }
                });
                address
            }
        };
        Self { address, text }
    }

    /// What has come so far.
    fn received(&self) -> Received {
        let text = String::from_utf8(self.text.lock().clone()).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut received = Received::default();
        whole.lines().filter(|line| !line.is_empty()).for_each(|line| received.add(line));
        received
    }
}

/// Statistics by their names, each with its tags.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    /// The sums of the increases.
    counters: BTreeMap<String, u64>,
    /// The names of others, with their types.
    others: BTreeMap<String, String>,
}

impl Received {
    /// `name:value|type`, then `@rate` and `#tags` in any order, each behind a bar.
    fn add(&mut self, line: &str) {
        let parts = || -> Option<_> {
            let (name, rest) = line.split_once(':')?;
            let mut parts = rest.split('|');
            let (value, kind) = (parts.next()?, parts.next()?);
            let tags = parts.filter(|part| part.starts_with('#')).collect::<String>();
            Some((format!("{name}{tags}"), value, kind))
        };
        let (name, value, kind) = parts().unwrap_or_else(|| panic!("{line:?}"));
        if is_of_the_process(&name) {
            return;
        }
        if kind == "c" {
            *self.counters.entry(name).or_default() += value.parse::<u64>().unwrap();
        } else {
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line:?}");
            self.others.insert(name, kind.to_owned());
        }
    }

    fn counted(&self, name: &str) -> Option<u64> {
        self.counters.get(name).copied()
    }
}

/// Statistics of the Go runtime, of the reader of files, and of the clients of Redis and DogStatsD.
fn is_of_the_process(name: &str) -> bool {
    ["ratelimit.go.", "runtime.", "ratelimit.redis_", "datadog."]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Services that send to listeners of their own.
struct Sent {
    sides: Sides,
    listeners: Vec<(&'static str, Listener)>,
}

impl Sent {
    /// The reference beside tollgate with these stores.
    fn by(way: Way, stores: &[Store], config: &str, more: &[(&'static str, &str)]) -> Self {
        let environment =
            [&way.environment()[..], &[("STATS_FLUSH_INTERVAL", "100ms")], more].concat();
        let given = Deployment::of(&[("a.yaml", config)], &environment);
        let mut listeners = Vec::new();
        let mut start = |start: &dyn Fn(&Deployment) -> Service| {
            let (mut given, listener) = (given.clone(), Listener::new(way));
            given.environment.push(("STATSD_HOST", listener.address.ip().to_string()));
            given.environment.push(("STATSD_PORT", listener.address.port().to_string()));
            let service = start(&given);
            listeners.push((service.name, listener));
            service
        };
        let mut services = vec![start(&Service::reference)];
        for store in stores {
            services.push(start(&|given| Service::ours(*store, given)));
        }
        Self { sides: Sides::of(services), listeners }
    }

    /// What all have sent once they have counted so many requests: the same, but for what `remove` takes out of it.
    fn same(&self, requests: &str, count: u64, remove: impl Fn(&str, &mut Received)) -> Received {
        let mut said = self.listeners.iter().map(|(name, listener)| {
            let mut last = Received::default();
            eventually(name, || {
                let now = listener.received();
                let is_over = now.counted(requests) == Some(count);
                // The lines of one flush may come in pieces.
                let is_still = is_over && now == last;
                last = now;
                is_still.then_some(())
            });
            remove(name, &mut last);
            (name, last)
        });
        let (_, reference) = said.next().unwrap();
        for (name, ours) in said {
            assert_eq!(ours, reference, "of {name} and of the reference");
        }
        reference
    }
}

const TIMER: &str = "ratelimit_server.ShouldRateLimit.response_time";

/// Counts of a limit, in the order of [`COUNTERS`].
fn of_limit(sent: &Received, path: &str) -> [Option<u64>; 5] {
    COUNTERS.map(|name| sent.counted(&format!("ratelimit.service.rate_limit.{path}.{name}")))
}

const COUNTERS: [&str; 5] =
    ["total_hits", "within_limit", "near_limit", "over_limit", "shadow_mode"];

const REQUESTS: &str = "ratelimit_server.ShouldRateLimit.total_requests";

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn counters_and_timers_are_sent_by_the_same_names() {
    for way in [Way::Tcp, Way::Udp, Way::Dog] {
        let sent = Sent::by(way, &[Store::Memory, Store::Redis], metrics::CONFIG, &[]);
        metrics::ask(&sent.sides);
        let unknown = [descriptor(&[("k", "x")]), descriptor(&[("k", "y")])];
        sent.sides.ask(&request("nobody's", &unknown));
        let sent = sent.same(REQUESTS, metrics::REQUESTS + 1, |_, _| {});
        let of_k = [Some(16), Some(9), Some(2), Some(6), None];
        assert_eq!(of_limit(&sent, "d.k"), of_k);
        assert_eq!(of_limit(&sent, "d.tried"), [5, 2, 1, 3, 3].map(Some));
        // In Prometheus those of several levels are added up.
        assert_eq!(of_limit(&sent, "d.two.levels_v.three")[..2], [2, 2].map(Some));
        let unknown = "ratelimit.service.rate_limit.nobody's.domain_not_found";
        assert_eq!(sent.counted(unknown), Some(2));
        assert_eq!(sent.others, [(TIMER.to_owned(), "ms".to_owned())].into(), "{way:?}");
    }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn what_fails_and_what_passes_in_shadow_is_sent_with_extra_tags() {
    let config =
        "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: year, requests_per_unit: 2 } }]\n";
    let more =
        [("SHADOW_MODE", "true"), ("EXTRA_TAGS", "zone:eu,app:shop"), ("REDIS_TIMEOUT", "1s")];
    for (way, tags) in [(Way::Tcp, ".__app=shop.__zone=eu"), (Way::Dog, "#app:shop,zone:eu")] {
        let mut sent = Sent::by(way, &[Store::Redis], config, &more);
        let asked = request("d", &[hits(2, &[("k", "v")])]);
        for _ in 0..3 {
            sent.sides.ask(&asked);
        }
        sent.sides.ask(&request("d", &[]));
        sent.sides.services().filter_map(Service::redis).for_each(super::redis_server::Redis::kill);
        sent.sides.ask(&asked);
        let total = format!("ratelimit.service.rate_limit.d.k.total_hits{tags}");
        let received = sent.same(&format!("{REQUESTS}{tags}"), 5, |name, received| {
            // The reference counts what its store fails to decide.
            let expected = if name == "reference" { 8 } else { 6 };
            assert_eq!(received.counters.remove(&total), Some(expected), "{name}");
        });
        let count = |name: &str| received.counted(&format!("ratelimit.service.{name}{tags}"));
        assert_eq!(count("rate_limit.d.k.over_limit"), Some(4));
        assert_eq!(count("global_shadow_mode"), Some(2));
        for error in ["redis_error", "service_error"] {
            assert_eq!(count(&format!("call.should_rate_limit.{error}")), Some(1), "{error}");
        }
    }
}
