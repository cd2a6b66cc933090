//! The program without its sockets, and what must be true of everything that it answers.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use prost::Message;
use tollgate::clock::{Clock, ManualClock, Timestamp};
use tollgate::config::{Problems, Source};
use tollgate::live::ActivePolicies;
use tollgate::observe::telemetry::Telemetry;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy_files;
use tollgate::service::{Response, Service};
use tollgate::store::MemoryStore;
use tollgate::wire::{self, RateLimitResponse};
use tonic::Code;

/// 2026-03-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

/// Few, so that inputs of a few kilobytes fill it.
pub const MAX_KEYS: usize = 64;

/// Every kind of bucket, row and condition, each with a header of another style.
pub const POLICY: &str = include_str!("policy.yaml");

/// What of the program does not depend on who has asked before.
pub struct Parts {
    /// The policies.
    pub policies: Arc<ActivePolicies>,
    /// The counters.
    pub telemetry: Arc<Telemetry>,
}

impl Parts {
    /// With the policies of these texts.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(sources: &[Source], key: FingerprintKey) -> Result<Self, Problems> {
        let telemetry = Arc::new(Telemetry::new(Arc::new(MemoryStore::new(1))));
        let first = policy_files::compile(sources, key)?;
        let policies = Arc::new(ActivePolicies::new(first, Arc::clone(&telemetry), NOW));
        Ok(Self { policies, telemetry })
    }

    /// With [`POLICY`].
    pub fn usual(key: FingerprintKey) -> Self {
        let texts = POLICY.split("\n---\n");
        let sources: Vec<_> = texts.map(|text| source("usual.yaml", text)).collect();
        Self::new(&sources, key).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Over an empty store.
    pub fn begin(&self) -> Program {
        self.over(MemoryStore::new(MAX_KEYS))
    }

    /// Over a store.
    pub fn over(&self, store: MemoryStore) -> Program {
        let (store, clock) = (Arc::new(store), Arc::new(ManualClock::at(NOW)));
        let (policies, telemetry) = (Arc::clone(&self.policies), Arc::clone(&self.telemetry));
        let service = Service::in_memory(
            Arc::clone(&clock) as Arc<dyn Clock>,
            policies,
            Arc::clone(&store),
            telemetry,
        );
        Program { clock, store, service }
    }
}

/// A text to compile.
pub fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

/// What answers one input.
pub struct Program {
    /// Stands still.
    pub clock: Arc<ManualClock>,
    /// Its buckets and leases.
    pub store: Arc<MemoryStore>,
    /// What decides.
    pub service: Arc<Service>,
}

impl Program {
    /// Asks, and holds the answer against what is true of every one. None where it is refused.
    pub fn ask(&self, message: &[u8]) -> Option<RateLimitResponse> {
        let query = wire::decode(message);
        let Response::Ready((answer, _)) = self.service.handle(message, None) else {
            panic!("it is decided in memory");
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument, "{status}");
                let is_regular = query.is_ok_and(|query| query.check().is_ok());
                assert!(!is_regular, "a question is refused: {status}");
                return None;
            }
        };
        assert_eq!(wire::frame::message(&answer.frame).expect("one frame"), answer.message());
        let response = RateLimitResponse::decode(answer.message()).expect("a RateLimitResponse");
        assert_eq!(wire::is_over_limit(&response), answer.is_over_limit);
        if let Ok(query) = query {
            assert_eq!(response.statuses.len(), query.len(), "one status for each descriptor");
        }
        answer.delivered();
        check_response(&response);
        assert!(self.store.token_bucket_count() <= MAX_KEYS, "the store has a bound");
        Some(response)
    }

    /// The same twice at one moment: who is denied is denied again, since nothing was charged.
    pub fn ask_twice(&self, message: &[u8]) -> Option<RateLimitResponse> {
        let first = self.ask(message)?;
        let again = self.ask(message).expect("it was a question before");
        if wire::is_over_limit(&first) {
            assert!(wire::is_over_limit(&again), "a denied call made room for itself");
        }
        Some(first)
    }
}

/// What a client has sent is in no header, and what a person reads has no control characters.
fn check_response(response: &RateLimitResponse) {
    let added = response.response_headers_to_add.iter().chain(&response.request_headers_to_add);
    for header in added {
        HeaderName::from_lowercase(header.key.as_bytes()).expect("a header's name");
        let value =
            if header.value.is_empty() { &*header.raw_value } else { header.value.as_bytes() };
        HeaderValue::from_bytes(value).expect("a header's value");
        assert!(value.iter().all(|byte| (b' '..=b'~').contains(byte)), "{value:?} is not ASCII");
    }
    if !response.raw_body.is_empty() {
        serde_json::from_slice::<serde_json::Value>(&response.raw_body).expect("a body in JSON");
    }
    let (_, details) = wire::describe(response, "no limit");
    for line in details {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
