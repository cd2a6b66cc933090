//! The stream of a subscription, opened again whenever it ends.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::backoff::{Pauses, random, shortened};
use super::connection::{self, with_causes};
use super::digest::Digest;
use super::exchange::{Answer, Exchange, Received, Step};
use super::pb::envoy::config::core::v3::Node;
use super::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use super::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use super::pb::google::rpc;
use super::resource::TYPE_URL;
use super::resource_set::{self, Judged, ResourceSet};
use super::settings::Settings;
use crate::clock::Clock;
use crate::config::ratelimit;
use crate::live::{
    ActivePolicies, ControlPlane, LoadedPolicies, PolicySource, PolicyVersion, VersionedPolicies,
};
use crate::observe::telemetry::{ControlPlaneCounters, Telemetry};
use crate::policy::LimitHistory;
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{Panicked, Reader, caught};
use crate::text;

/// How resources are compiled.
#[derive(Debug, Clone)]
pub struct Compile {
    /// The key that hashes the names of buckets.
    pub key: FingerprintKey,
    /// What configurations do not say themselves.
    pub settings: ratelimit::Settings,
}

/// A subscription to the ratelimit configurations of a control plane, and the policies that it keeps in force.
pub struct Subscription {
    settings: Arc<Settings>,
    compile: Compile,
    policies: Arc<ActivePolicies>,
    clock: Arc<dyn Clock>,
    counters: ControlPlaneCounters,
    /// Reads the files of TLS.
    reader: Reader,
    exchange: Exchange,
    /// What is in force.
    set: Arc<ResourceSet>,
}

/// Why there is no stream any more.
enum Ended {
    /// There was no connection.
    NotConnected(String),
    /// The stream ended.
    Stream(String),
}

/// A response that was compiled and prepared.
struct Prepared {
    set: ResourceSet,
    problems: String,
    /// `None` if what would come into force is in force.
    next: Option<LoadedPolicies>,
}

impl Subscription {
    /// A subscription whose policies are awaited until the first set is in force. `before` has the limits of policies that
    /// were in force when the state of the store was written.
    pub fn new(
        settings: Settings,
        compile: Compile,
        before: LimitHistory,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let counters = telemetry.control_plane().clone();
        let now = clock.now();
        let control_plane = ControlPlane::new(settings.server.to_string(), now);
        let policies = ActivePolicies::awaiting(control_plane, before, telemetry, now);
        Self {
            settings: Arc::new(settings),
            compile,
            policies: Arc::new(policies),
            clock,
            counters,
            reader: Reader::default(),
            exchange: Exchange::default(),
            set: Arc::default(),
        }
    }

    /// The policies that it keeps in force.
    pub const fn policies(&self) -> &Arc<ActivePolicies> {
        &self.policies
    }

    /// Follows the control plane until the future is dropped. Compiling does not block the caller's runtime.
    pub async fn run(mut self) {
        let settings = Arc::clone(&self.settings);
        let mut pauses = settings.backoff.pauses();
        loop {
            let ended = match connection::connect(&settings, &self.reader).await {
                Ok(channel) => {
                    self.record_connected();
                    Ended::Stream(self.follow(channel, &mut pauses).await)
                }
                Err(error) => Ended::NotConnected(error),
            };
            let pause = match &ended {
                Ended::NotConnected(_) => shortened(settings.connect_retry, random()),
                Ended::Stream(_) => pauses.next(random()),
            };
            self.record_disconnected(ended, pause);
            sleep(pause).await;
        }
    }

    /// Answers responses until the stream ends, and returns why it did. Restarts `pauses` if there was a response.
    async fn follow(&mut self, channel: Channel, pauses: &mut Pauses) -> String {
        // One request for each response, and the first one.
        let (requests, receiver) = mpsc::channel(2);
        let mut request = Request::new(ReceiverStream::new(receiver));
        let headers = self.settings.headers.iter().cloned().collect();
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let first = self.request(Answer::default());
        if requests.send(first).await.is_err() {
            return "the stream ended at once".to_owned();
        }
        let max = self.settings.max_message_bytes;
        let client = AggregatedDiscoveryServiceClient::new(channel);
        let mut client = client.max_decoding_message_size(max);
        // A control plane may send nothing, not even headers, until it has resources.
        let mut responses = match client.stream_aggregated_resources(request).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => return explain(&status, max),
        };
        // The refusal that is repeated after a pause.
        let mut held: Option<(Instant, Answer)> = None;
        loop {
            let answer = tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        pauses.restart();
                        // The answer to an earlier response would be too late.
                        held = None;
                        match self.receive(response).await {
                            Reaction::Answer(answer) => answer,
                            Reaction::AnswerAfter(pause, answer) => {
                                held = Some((Instant::now() + pause, answer));
                                continue;
                            }
                            Reaction::Ignore => continue,
                        }
                    }
                    Ok(None) => return "the control plane ended the stream".to_owned(),
                    Err(status) => return explain(&status, max),
                },
                answer = due(&mut held) => answer,
            };
            if requests.send(self.request(answer)).await.is_err() {
                return "the control plane ended the stream".to_owned();
            }
        }
    }

    fn request(&self, answer: Answer) -> DiscoveryRequest {
        let text = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
        let metadata = &self.settings.node_metadata;
        let fields = metadata.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let refusal = answer.refusal;
        DiscoveryRequest {
            version_info: answer.version,
            node: Some(Node {
                id: self.settings.node_id.clone(),
                metadata: (!metadata.is_empty()).then_some(Struct { fields }),
            }),
            type_url: TYPE_URL.to_owned(),
            response_nonce: answer.nonce,
            error_detail: refusal
                .map(|message| rpc::Status { code: Code::InvalidArgument.into(), message }),
        }
    }

    async fn receive(&mut self, response: DiscoveryResponse) -> Reaction {
        if response.type_url != TYPE_URL {
            let other = text::sanitize(&response.type_url);
            tracing::warn!(%other, "the control plane sent resources that were not asked for");
            return Reaction::Ignore;
        }
        let received = Received {
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
            digest: Digest::of(&response.resources),
        };
        match self.exchange.receive(&received, random()) {
            Step::Judge => Reaction::Answer(self.judge(received, response).await),
            Step::Accept(answer) => {
                self.counters.repeated.inc();
                self.policies.record_unchanged();
                Reaction::Answer(answer)
            }
            Step::RefuseAgain(answer, pause) => {
                self.counters.repeated.inc();
                tracing::debug!(?pause, "the control plane repeats what was refused");
                Reaction::AnswerAfter(pause, answer)
            }
        }
    }

    /// Compiles a response, and puts in force what is good of it.
    async fn judge(&mut self, received: Received, response: DiscoveryResponse) -> Answer {
        let version = text::sanitize(&received.version);
        let prepare = self.preparation(version.clone().into_string(), response);
        // A response may have thousands of resources, and compiling them may show a fault of tollgate.
        let prepared = tokio::task::spawn_blocking(move || caught(prepare)).await;
        let prepared: Result<Prepared, String> = match prepared {
            Ok(prepared) => prepared.map_err(|panicked: Panicked| panicked.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let now = self.clock.read();
        let (problems, is_any_good) = match prepared {
            Ok(Prepared { set, problems, next }) => {
                let is_any_good = next.is_some();
                if let Some(next) = next {
                    tracing::info!(%version, domains = set.len(), "policies from the control plane are in force");
                    self.policies.activate(next, now);
                    self.set = Arc::new(set);
                }
                (problems, is_any_good)
            }
            Err(problem) => (problem, false),
        };
        if problems.is_empty() {
            self.counters.accepted.inc();
            return self.exchange.judged(received, Ok(()));
        }
        let counter =
            if is_any_good { &self.counters.partly_refused } else { &self.counters.refused };
        counter.inc();
        tracing::error!(%problems, %version,
            "refused from the control plane: what is wrong stays as it was before");
        self.policies.record_rejected(problems.clone(), now);
        self.exchange.judged(received, Err(problems))
    }

    /// What compiles a response and prepares its policies. It takes time in proportion to the number of limits.
    fn preparation(
        &self,
        version: String,
        response: DiscoveryResponse,
    ) -> impl FnOnce() -> Prepared + Send + 'static {
        let (set, policies) = (Arc::clone(&self.set), Arc::clone(&self.policies));
        let (clock, compile) = (Arc::clone(&self.clock), self.compile.clone());
        let server = self.settings.server.to_string();
        move || {
            let Compile { key, settings } = compile;
            let resources = &response.resources;
            let judged = resource_set::judge(resources, &set, |configs| {
                ratelimit::compile(configs, key, &settings)
            });
            let Judged { policies: next, set, is_unchanged, problems } = judged;
            let length = resources.iter().map(|resource| resource.value.len()).sum();
            let id = if problems.is_empty() { version } else { format!("{version}, in part") };
            let version = PolicyVersion::new(id, vec![PolicySource { name: server, length }]);
            let next = VersionedPolicies { policies: next, version, warnings: Vec::new() };
            // An empty set without a problem is a set.
            let is_in_force = is_unchanged && !problems.is_empty();
            let next = (!is_in_force).then(|| policies.prepare(next, clock.read()));
            Prepared { set, problems, next }
        }
    }

    fn record_connected(&self) {
        tracing::info!(server = %self.settings.server, "connected to the control plane");
        self.counters.connected.set(1);
        if let Some(control_plane) = self.policies.control_plane() {
            control_plane.record_connected(self.clock.now());
        }
    }

    /// Records and logs why there is no connection. An outage is logged once, and again if its reason changes.
    fn record_disconnected(&self, ended: Ended, pause: Duration) {
        let (Ended::NotConnected(error) | Ended::Stream(error)) = ended;
        self.counters.connected.set(0);
        self.counters.disconnects.inc();
        let Some(control_plane) = self.policies.control_plane() else { return };
        let server = control_plane.server();
        if control_plane.record_disconnected(error.clone(), self.clock.now()) {
            tracing::warn!(%server, %error, ?pause,
                "not connected to the control plane; what is in force stays");
        } else {
            tracing::debug!(%server, %error, ?pause, "still not connected to the control plane");
        }
    }
}

/// What is done about a response.
enum Reaction {
    Answer(Answer),
    AnswerAfter(Duration, Answer),
    Ignore,
}

/// Completes with the answer that is held once it is due; never if there is none.
async fn due(held: &mut Option<(Instant, Answer)>) -> Answer {
    if let Some((at, _)) = held {
        sleep_until(*at).await;
    }
    match held.take() {
        Some((_, answer)) => answer,
        None => pending().await,
    }
}

/// The most characters that are told of a control plane's error.
const MAX_ERROR_CHARS: usize = 300;

/// Why a stream ended. `max` is the largest response that is read, in bytes.
fn explain(status: &Status, max: usize) -> String {
    if status.code() == Code::OutOfRange && status.message().contains("length too large") {
        return format!(
            "a response is larger than {max} bytes, the maximum; raise it, or send fewer resources"
        );
    }
    let error = match std::error::Error::source(status) {
        Some(source) => with_causes(status.message().to_owned(), Some(source)),
        None => format!("{}: {}", status.code(), status.message()),
    };
    text::printable(&error).chars().take(MAX_ERROR_CHARS).collect()
}
