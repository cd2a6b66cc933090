//! A replica without a process, whose clock the test sets.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::runtime::Runtime;
use tollgate::clock::{Clock, ManualClock, Timestamp};
use tollgate::live::ActivePolicies;
use tollgate::observe::telemetry::Telemetry;
use tollgate::policy::LimitHistory;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::service::{Core, Service, Stores};
use tollgate::shared::{Settings, Store, Tls};
use tollgate::store::MemoryStore;
use tollgate::wire::{RateLimitRequest, RateLimitResponse};

use super::redis_server::Redis;
use super::support::{Answer, compiled, runtime, source};

type Parts = (Arc<Store>, Arc<ManualClock>, Arc<Telemetry>);

fn store(replicas: NonZeroU32, url: &str, at: Timestamp, timeout: Duration) -> Parts {
    let clock = Arc::new(ManualClock::at(at));
    let local = Arc::new(MemoryStore::new(10_000));
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&local)));
    let (target, prefix) = (url.parse().unwrap(), "tollgate".into());
    let settings =
        Settings { target, tls: Tls::default(), prefix, timeout, replicas, prepaid_time: None };
    let own = Arc::clone(&clock) as Arc<dyn Clock>;
    let store = Store::new(settings, 10_000, local, own, Arc::clone(&telemetry));
    (store.unwrap(), clock, telemetry)
}

pub struct Replica {
    pub clock: Arc<ManualClock>,
    pub runtime: Runtime,
    pub service: Arc<Service>,
}

impl Replica {
    /// Connected, or known not to be.
    pub fn new(url: &str, policy: &str, at: Timestamp, timeout: Duration) -> Self {
        let store = store(NonZeroU32::MIN, url, at, timeout);
        Self::over(store, policy, &LimitHistory::default())
    }

    /// One of so many, which knows the limits in the store and goes through the keys, as the server does.
    pub fn one_of(
        replicas: NonZeroU32,
        url: &str,
        policy: &str,
        at: Timestamp,
        timeout: Duration,
    ) -> Self {
        let store = store(replicas, url, at, timeout);
        let before = runtime().block_on(store.0.limits_before());
        let replica = Self::over(store, policy, &before);
        replica.runtime.spawn(Arc::clone(replica.service.core()).lengthen_keys());
        replica
    }

    fn over((store, clock, telemetry): Parts, policy: &str, before: &LimitHistory) -> Self {
        let first = compiled(&source(policy), FingerprintKey::shared());
        let now = clock.now();
        let policies = ActivePolicies::after(before, first, Arc::clone(&telemetry), now);
        let own = Arc::clone(&clock) as Arc<dyn Clock>;
        let core = Core::new(own, Arc::new(policies), Stores::Shared(store), telemetry);
        let runtime = runtime();
        let service = runtime.block_on(Arc::new(core).connect());
        Self { clock, runtime, service }
    }

    /// The same, with time for a busy machine.
    pub fn start(redis: &Redis, policy: &str, at: Timestamp) -> Self {
        Self::new(&redis.url(), policy, at, Duration::from_millis(500))
    }

    /// The same, as the server is.
    pub fn serve(redis: &Redis, policy: &str, at: Timestamp) -> Self {
        Self::one_of(NonZeroU32::MIN, &redis.url(), policy, at, Duration::from_millis(500))
    }

    pub fn ask(&self, request: &RateLimitRequest) -> Answer {
        self.runtime.block_on(ask(Arc::clone(&self.service), request.encode_to_vec()))
    }

    pub fn reload(&self, policy: &str) {
        let next = compiled(&source(policy), FingerprintKey::shared());
        self.service.policies().replace(next, self.clock.now());
    }

    /// How many were denied, and how many decided, without asking the store.
    pub fn remembered_and_local(&self) -> (u64, u64) {
        let counters = self.service.telemetry().shared_store();
        (counters.cached_denials.get(), counters.local.get())
    }

    /// Lets the connection be made.
    pub fn until(&self, what: &str, holds: impl Fn(&Service) -> bool) {
        self.runtime.block_on(async {
            for _ in 0..10_000 {
                if holds(&self.service) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("never: {what}");
        });
    }
}

pub async fn ask(service: Arc<Service>, message: Vec<u8>) -> Answer {
    let answer = service.handle(&message, None).finish().await.unwrap();
    let response = RateLimitResponse::decode(answer.message()).unwrap();
    answer.delivered();
    Answer(response)
}
