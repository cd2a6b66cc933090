//! What the benches decide: a policy of a chosen shape, a store of a chosen size, and callers.
//!
//! Time stands still, so that buckets are as full in the last repetition as in the first, and names are
//! hashed under a fixed key, so that a run repeats.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "bench code: a failure is a panic, and no bench uses all of it"
)]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use prost::Message;
use tollgate::clock::{Clock, ManualClock, Timestamp};
use tollgate::config::{self, Source};
use tollgate::descriptor::Query;
use tollgate::live::{ActivePolicies, LoadedPolicies, LoadedPolicy, VersionedPolicies};
use tollgate::observe::telemetry::Telemetry;
use tollgate::policy::Policy;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy_files;
use tollgate::service::{Answer, Response, Service};
use tollgate::store::MemoryStore;
use tollgate::{decision, wire};

/// 2026-03-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

const DOMAIN: &str = "bench";

/// Endpoint templates take turns between these, under names of their own.
const PATHS: [&str; 2] = ["/v1/things/{id}/parts/{part}", "/v1/things/{id}"];

/// A policy's measures.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many buckets a caller meets: 1, 2, 4 or 8.
    pub buckets: usize,
    /// How many rows each table has, besides `otherwise`.
    pub rows: usize,
    /// How many endpoint templates there are.
    pub templates: usize,
    /// How many callers have an override in the first table, in every row.
    pub overrides: usize,
}

/// What most benches use: four buckets in two tables.
pub const USUAL: Shape = Shape { buckets: 4, rows: 10, templates: 0, overrides: 0 };

impl Shape {
    /// The policy as a file would have it. A bucket holds more than any run takes, and is not full after
    /// the first call. A caller whose type is `spent` is denied by the last bucket of each row.
    pub fn sources(self) -> Vec<Source> {
        let mut text = format!("domain: {DOMAIN}\n");
        if self.templates > 0 {
            text += "endpoint_groups:\n";
        }
        for number in 0..self.templates {
            writeln!(text, "  group_{number}: [\"GET {}\"]", template(number)).unwrap();
        }
        text += "tables:\n";
        let (tables, each) = if self.buckets == 1 { (1, 1) } else { (self.buckets / 2, 2) };
        for table in 0..tables {
            writeln!(text, "  - name: table {table}\n    select: tenant_type\n    key: [tenant]")
                .unwrap();
            text += "    rows:\n";
            let open =
                "{ size: 4000000000, per_second: 1000 }, { size: 4000000000, per_minute: 1000 }";
            let spent = "{ size: 4000000000, per_second: 1000 }, { size: 1, per_day: 1 }";
            let row = |buckets: &str| match each {
                1 => buckets.rsplit_once(", {").map(|(_, last)| format!("{{{last}")).unwrap(),
                _ => buckets.to_owned(),
            };
            // First, so that it is found as fast as the first row of the others.
            writeln!(text, "      spent: [{}]", row(spent)).unwrap();
            for number in 0..self.rows {
                writeln!(text, "      type_{number}: [{}]", row(open)).unwrap();
            }
            writeln!(text, "      default: [{}]", row(open)).unwrap();
        }
        if self.overrides > 0 {
            text += "overrides:\n";
        }
        for number in 0..self.overrides {
            writeln!(
                text,
                "  - {{ table: table 0, row: type_0, when: {{ tenant: {} }}, buckets: [{{ size: \
                 4000000000, per_hour: 3600000 }}] }}",
                tenant(number)
            )
            .unwrap();
        }
        vec![Source { name: "bench.yaml".into(), text }]
    }
}

/// A ratelimit configuration with one limit, five levels deep: values, a pattern, and keys alone. It admits more than any
/// run asks.
pub fn tree() -> Vec<Source> {
    let text = format!(
        "domain: {DOMAIN}
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
                    rate_limit: {{ unit: year, requests_per_unit: 4294967295 }}
"
    );
    vec![Source { name: "tree.yaml".into(), text }]
}

/// The bytes of a question that reaches the limit of [`tree`].
pub fn tree_message() -> Vec<u8> {
    let entries = [
        ("route", "checkout"),
        ("tenant", "acme"),
        ("method", "GET"),
        ("path", "/v1/things/th_8f3a"),
        ("remote_address", "203.0.113.7"),
    ];
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    wire::request(DOMAIN, entries, 1, false).encode_to_vec()
}

/// The name of a caller.
pub fn tenant(number: usize) -> String {
    format!("tenant-{number:08}")
}

/// The bytes of a caller's question.
pub fn message(tenant_type: &str, tenant: &str, path: Option<&str>) -> Vec<u8> {
    let mut entries = vec![("tenant_type", tenant_type), ("tenant", tenant)];
    if let Some(path) = path {
        entries.extend([("method", "GET"), ("path", path)]);
    }
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    wire::request(DOMAIN, entries, 1, false).encode_to_vec()
}

fn template(number: usize) -> String {
    PATHS[number % 2].replace("things", &format!("things_{}", number / 2))
}

/// A path that the template of this number matches.
pub fn path(number: usize) -> String {
    template(number).replace("{id}", "th_8f3a").replace("{part}", "42")
}

/// What Envoy sends in front of the shipped policy, whose four buckets it meets.
pub fn shipped_message(tenant_type: &str, tenant: &str, method: &str, path: &str) -> Vec<u8> {
    let entries = [
        ("tenant_type", tenant_type),
        ("tenant", tenant),
        ("method", method),
        ("path", path),
        ("remote_address", "203.0.113.7"),
    ];
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    wire::request("management-api", entries, 1, false).encode_to_vec()
}

/// A service and its parts.
pub struct Parts {
    pub clock: Arc<ManualClock>,
    pub policies: Arc<ActivePolicies>,
    pub store: Arc<MemoryStore>,
    pub service: Arc<Service>,
    pub snapshot: Arc<LoadedPolicies>,
    domain: String,
}

/// Policies compiled under a fixed key.
pub fn compiled(sources: &[Source]) -> VersionedPolicies {
    let compiled = policy_files::compile(sources, FingerprintKey::fixed(7));
    compiled.unwrap_or_else(|problems| panic!("{problems}"))
}

impl Parts {
    pub fn new(sources: &[Source], max_keys: usize) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let store = Arc::new(MemoryStore::new(max_keys));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let first = compiled(sources);
        let policies = Arc::new(ActivePolicies::new(first, Arc::clone(&telemetry), NOW));
        let service = Service::in_memory(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&policies),
            Arc::clone(&store),
            telemetry,
        );
        let snapshot = Arc::clone(&policies.load());
        let domain = snapshot.policies()[0].domain().to_owned();
        Self { clock, policies, store, service, snapshot, domain }
    }

    pub fn of(shape: Shape) -> Self {
        Self::new(&shape.sources(), 40_000_000)
    }

    /// `config/management-api.yaml`.
    pub fn shipped() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/management-api.yaml");
        Self::new(&config::read(&file).unwrap(), 10_000_000)
    }

    /// The answer to a message, decided in memory at once.
    pub fn answer(&self, message: &[u8]) -> Result<Answer, tonic::Status> {
        match self.service.handle(message, None) {
            Response::Ready((answer, _)) => answer,
            Response::Pending(_) => panic!("it is not decided in memory"),
        }
    }

    /// Puts other policies in force.
    pub fn replace(&self, sources: &[Source]) {
        self.policies.replace(compiled(sources), NOW);
    }

    pub fn loaded(&self) -> &LoadedPolicy {
        self.snapshot.get(&*self.domain).unwrap()
    }

    pub fn policy(&self) -> &Policy {
        &self.loaded().policy
    }

    /// Meets and decides: what lies between the wire and the wire.
    pub fn decide(&self, query: &Query<'_>) -> bool {
        let plan = self.policy().resolve(query, NOW);
        decision::decide(&plan, &self.store, NOW).unwrap().is_admitted
    }

    /// Lets callers in until there are so many keys. Returns how many callers that took; each is met
    /// again by [`tenant`] of its number, and type `type_0`.
    pub fn fill(&self, keys: usize) -> usize {
        let first = message("type_0", &tenant(0), None);
        let each = self.policy().resolve(&wire::decode(&first).unwrap(), NOW).matched.len();
        let callers = keys / each;
        for number in 0..callers {
            let message = message("type_0", &tenant(number), None);
            assert!(self.decide(&wire::decode(&message).unwrap()));
        }
        callers
    }
}

/// Questions that outlive everything: a bench asks them over and over.
pub fn leak(messages: impl Iterator<Item = Vec<u8>>) -> &'static [Query<'static>] {
    messages.map(|message| wire::decode(message.leak()).unwrap()).collect::<Vec<_>>().leak()
}

/// Numbers below `below` in an order that no prefetcher follows; each comes up once in `below` turns.
pub struct Scattered {
    at: usize,
    step: usize,
    below: usize,
}

impl Scattered {
    pub fn new(below: usize, from: usize) -> Self {
        let divides = |step: usize| {
            let (mut a, mut b) = (step, below);
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a != 1
        };
        let mut step = (below * 618 / 1000) | 1;
        while divides(step) {
            step += 2;
        }
        Self { at: from % below, step, below }
    }

    pub fn next(&mut self) -> usize {
        self.at = (self.at + self.step) % self.below;
        self.at
    }
}
