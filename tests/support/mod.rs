//! A server of our own on a free port, with a clock that the test moves, and a client for it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic, and no test uses all of it"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;
use prost_types::value::Kind;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tollgate::admin::Controls;
use tollgate::clock::{Clock, ManualClock, Nanos, Timestamp};
use tollgate::config::{self, Source};
use tollgate::live::{ActivePolicies, VersionedPolicies};
use tollgate::observe::telemetry::Telemetry;
use tollgate::policy::LimitHistory;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy_files::{self, PolicyFiles, Reloader};
use tollgate::server::{Options, Server, Stop};
use tollgate::service::{self, Response, Service};
use tollgate::store::MemoryStore;
use tollgate::store::memory::snapshot::{self, Restored};
use tollgate::wire::pb::envoy::config::core::v3::HeaderValue;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use tollgate::wire::{RateLimitRequest, RateLimitResponse, RateLimitServiceClient};
use tonic::transport::Channel;

/// 2026-03-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

pub const SHIPPED: &str = "config/management-api.yaml";

pub fn source(text: &str) -> Vec<Source> {
    vec![Source { name: "test.yaml".into(), text: text.into() }]
}

/// The parts of a server without the server.
pub struct Parts {
    pub clock: Arc<ManualClock>,
    pub policies: Arc<ActivePolicies>,
    pub key: FingerprintKey,
    pub store: Arc<MemoryStore>,
    pub telemetry: Arc<Telemetry>,
    pub service: Arc<Service>,
}

/// Policies that are right.
pub fn compiled(sources: &[Source], key: FingerprintKey) -> VersionedPolicies {
    policy_files::compile(sources, key).unwrap_or_else(|problems| panic!("{problems}"))
}

impl Parts {
    pub fn new(sources: &[Source], max_keys: usize) -> Self {
        Self::over(MemoryStore::new(max_keys), FingerprintKey::random().unwrap(), sources)
    }

    /// Over a store whose buckets are named under that key.
    pub fn over(store: MemoryStore, key: FingerprintKey, sources: &[Source]) -> Self {
        Self::after(&LimitHistory::default(), store, key, START, sources)
    }

    /// Over what a snapshot had, restored at that time.
    pub fn restored(restored: Restored, at: Timestamp, sources: &[Source]) -> Self {
        Self::after(&restored.limits, restored.store, restored.key, at, sources)
    }

    fn after(
        before: &LimitHistory,
        store: MemoryStore,
        key: FingerprintKey,
        at: Timestamp,
        sources: &[Source],
    ) -> Self {
        let clock = Arc::new(ManualClock::at(at));
        let store = Arc::new(store);
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let first = compiled(sources, key);
        let policies = ActivePolicies::after(before, first, Arc::clone(&telemetry), clock.now());
        let policies = Arc::new(policies);
        let service = Service::in_memory(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&policies),
            Arc::clone(&store),
            Arc::clone(&telemetry),
        );
        Self { clock, policies, key, store, telemetry, service }
    }

    /// A snapshot of the store now.
    pub fn snapshot(&self) -> Vec<u8> {
        let (policies, now) = (self.policies.load(), self.clock.read());
        let mut bytes = Vec::new();
        snapshot::write(&self.store, self.key, policies.limits(), now, &mut bytes).unwrap();
        bytes
    }

    /// Sweeps the whole store.
    pub fn sweep(&self) {
        let core = self.service.core();
        (0..core.shard_count()).for_each(|_| _ = core.sweep());
    }

    /// Puts other policies in force.
    pub fn replace(&self, sources: &[Source]) {
        self.policies.replace(compiled(sources, self.key), self.clock.now());
    }

    /// The answer to a message, decided in memory at once.
    pub fn answer(&self, message: &[u8]) -> Result<service::Answer, tonic::Status> {
        match self.service.handle(message, None) {
            Response::Ready((answer, _)) => answer,
            Response::Pending(_) => panic!("it is not decided in memory"),
        }
    }

    /// Asks without a server; a lease that is taken is kept.
    pub fn ask(&self, request: &RateLimitRequest) -> Answer {
        let answer = self.answer(&request.encode_to_vec()).unwrap();
        let response = RateLimitResponse::decode(answer.message()).unwrap();
        answer.delivered();
        Answer(response)
    }
}

/// A running server, stopped and joined when dropped.
pub struct TestServer {
    pub parts: Parts,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    hurry: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub fn shipped() -> Self {
        Self::of(&config::read(SHIPPED.as_ref()).unwrap())
    }

    pub fn with_policy(text: &str) -> Self {
        Self::of(&source(text))
    }

    pub fn of(sources: &[Source]) -> Self {
        Self::with(sources, |_| {})
    }

    /// With other options than the usual ones.
    pub fn with(sources: &[Source], change: impl FnOnce(&mut Options)) -> Self {
        Self::running(Parts::new(sources, 100_000), change)
    }

    /// With the policies of a file, which it reads again when asked to by who has the token.
    pub fn administered(path: &Path, token: &str) -> Self {
        let parts = Parts::new(&config::read(path).unwrap(), 100_000);
        let clock = Arc::clone(&parts.clock) as Arc<dyn Clock>;
        let files = PolicyFiles::new(path.into(), parts.key, Arc::clone(&parts.policies));
        let reloader = Reloader::new(files, clock);
        Self::running(parts, |options| {
            let token = Some(token.parse().unwrap());
            options.controls =
                Controls { token, reloader: Some(Arc::new(reloader)), ..Controls::default() };
        })
    }

    /// With these parts.
    pub fn running(parts: Parts, change: impl FnOnce(&mut Options)) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Options {
            grpc: any.into(),
            http: Some(any.into()),
            workers: NonZeroUsize::new(2).unwrap(),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(60),
            ..Options::default()
        };
        change(&mut options);
        let (stop, stopped) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel::<()>();
        let (bound, addresses) = std::sync::mpsc::channel();
        let core = Arc::clone(parts.service.core());
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let server = Server::bind(options).await.unwrap();
                let addresses = [server.grpc_address(), server.http_address().unwrap()];
                bound.send(addresses.map(|address| address.tcp().unwrap())).unwrap();
                let stop = async {
                    stopped.await.unwrap_or(());
                    Stop::AfterDelay
                };
                let hurry = async {
                    if hurried.await.is_err() {
                        std::future::pending().await
                    }
                };
                server.run(core, stop, hurry).await.unwrap();
            });
        });
        let [grpc, http] = addresses.recv().unwrap();
        Self { parts, grpc, http, stop: Some(stop), hurry: Some(hurry), thread: Some(thread) }
    }

    pub fn advance(&self, span: Nanos) {
        self.parts.clock.advance(span);
    }

    pub fn client(&self) -> Client {
        Client::connect(self.grpc)
    }

    /// Tells it to stop, and does not wait.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Tells it not to wait for calls in flight.
    pub fn hurry(&mut self) {
        self.hurry.take().unwrap().send(()).unwrap();
    }

    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// An HTTP request without a body: the status line, and what came.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Gives the server's own threads the time they need, within bounds.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("never: {what}");
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client that blocks.
pub struct Client {
    runtime: Runtime,
    client: RateLimitServiceClient<Channel>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let runtime = runtime();
        let url = format!("http://{address}");
        let client = runtime.block_on(RateLimitServiceClient::connect(url)).unwrap();
        Self { runtime, client }
    }

    pub fn ask(&mut self, request: RateLimitRequest) -> Answer {
        self.try_ask(request).unwrap()
    }

    pub fn try_ask(&mut self, request: RateLimitRequest) -> Result<Answer, tonic::Status> {
        let answer = self.runtime.block_on(self.client.should_rate_limit(request))?;
        Ok(Answer(answer.into_inner()))
    }

    /// How many of these are admitted until the first denial, which is returned; panics after `most`.
    pub fn drain(&mut self, request: &RateLimitRequest, most: u32) -> (u32, Answer) {
        for admitted in 0..=most {
            let answer = self.ask(request.clone());
            if !answer.is_ok() {
                return (admitted, answer);
            }
        }
        panic!("over {most} were admitted: {request:?}");
    }
}

pub fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..Default::default() }
}

pub fn request(domain: &str, descriptors: &[RateLimitDescriptor]) -> RateLimitRequest {
    RateLimitRequest { domain: domain.into(), descriptors: descriptors.to_vec(), hits_addend: 0 }
}

/// One descriptor in the shipped policy's domain.
pub fn shipped(entries: &[(&str, &str)]) -> RateLimitRequest {
    request("management-api", &[descriptor(entries)])
}

/// A server whose policy has the domain `d` and says `rest`, and a client of it.
pub fn server(rest: &str) -> (TestServer, Client) {
    let server = TestServer::with_policy(&format!("domain: d\n{rest}"));
    let client = server.client();
    (server, client)
}

/// The same, with fewer places than it has otherwise.
pub fn server_with_connections(rest: &str, most: usize) -> TestServer {
    TestServer::with(&source(&format!("domain: d\n{rest}")), |options| {
        options.max_connections = most;
    })
}

/// One descriptor in the domain `d`.
pub fn call(entries: &[(&str, &str)]) -> RateLimitRequest {
    request("d", &[descriptor(entries)])
}

pub fn hits(count: u64, entries: &[(&str, &str)]) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(count), ..descriptor(entries) }
}

pub fn give_back(count: u64, entries: &[(&str, &str)]) -> RateLimitDescriptor {
    RateLimitDescriptor { is_negative_hits: true, ..hits(count, entries) }
}

/// A descriptor that brings a limit along.
pub fn limit(
    requests: u32,
    unit: i32,
    multiplier: Option<u32>,
    entries: &[(&str, &str)],
) -> RateLimitDescriptor {
    let limit =
        RateLimitOverride { requests_per_unit: requests, unit, unit_multiplier: multiplier };
    RateLimitDescriptor { limit: Some(limit), ..descriptor(entries) }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer(pub RateLimitResponse);

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.0.overall_code == 1
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        one_header(&self.0.response_headers_to_add, name)
    }

    pub fn request_header(&self, name: &str) -> Option<&str> {
        one_header(&self.0.request_headers_to_add, name)
    }

    pub fn number(&self, name: &str) -> u64 {
        self.header(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).parse().unwrap()
    }

    pub fn metadata(&self, name: &str) -> Option<&str> {
        match self.0.dynamic_metadata.as_ref()?.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text),
            _ => None,
        }
    }

    pub fn released(&self) -> Option<usize> {
        match self.0.dynamic_metadata.as_ref()?.fields.get("released")?.kind.as_ref()? {
            Kind::NumberValue(count) => Some(count.to_string().parse().unwrap()),
            _ => None,
        }
    }

    /// Table, row and bucket that denied.
    pub fn denied_by(&self) -> (&str, &str, &str) {
        let field = |name| self.metadata(name).unwrap_or_default();
        (field("table"), field("row"), field("bucket"))
    }

    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.0.raw_body).unwrap()
    }

    pub fn remaining(&self) -> Vec<u32> {
        self.0.statuses.iter().map(|status| status.limit_remaining).collect()
    }
}

fn one_header<'a>(headers: &'a [HeaderValue], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|header| header.key == name);
    let value = found.next().map(|header| &*header.value);
    assert!(found.next().is_none(), "{name} twice");
    value
}
