//! `/events`: samples for the page, as server-sent events.
//!
//! One sampler serves all viewers. It runs only while there are viewers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response, Sse};
use futures_core::Stream;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use super::sample::{self, History, Point, Sample};
use crate::admin::{ApiError, Readiness, Shared};
use crate::service::{HeldLeases, Service};

/// How often a sample is taken.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The most pages open at a time: far fewer than connections, which leaves room for probes.
pub(super) const MAX_VIEWERS: usize = 16;

/// The most events that wait for a viewer that does not read.
const MAX_WAITING: usize = 4;

/// The most events in a row that a viewer may miss before it is dropped.
const MAX_MISSED: u32 = 10;

pub(super) async fn events(State(shared): State<Shared>) -> Response {
    match shared.broadcaster.join() {
        // Keeps proxies from buffering the events.
        Some(events) => ([("x-accel-buffering", "no")], Sse::new(events)).into_response(),
        None => {
            let error = format!("{MAX_VIEWERS} pages are open, or the server is stopping");
            let later = [(header::RETRY_AFTER, "10")];
            (later, Response::from(ApiError::unavailable(error))).into_response()
        }
    }
}

/// The first event of a stream, which comes before the first sample.
#[derive(JsonSchema, Serialize)]
pub(in crate::admin) struct Begin {
    version: &'static str,
    points: Vec<Point>,
}

/// The viewers, and the sampler for all of them.
pub(in crate::admin) struct Broadcaster {
    service: Arc<Service>,
    readiness: Readiness,
    state: Mutex<Inner>,
    samples: AtomicU64,
}

#[derive(Default)]
struct Inner {
    viewers: Vec<Viewer>,
    history: History,
    is_sampling: bool,
    is_closed: bool,
}

struct Viewer {
    events: mpsc::Sender<Event>,
    missed: u32,
}

impl Viewer {
    fn send(&mut self, event: Event) {
        match self.events.try_send(event) {
            Ok(()) => self.missed = 0,
            Err(_) => self.missed += 1,
        }
    }

    fn is_open(&self) -> bool {
        !self.events.is_closed() && self.missed <= MAX_MISSED
    }
}

impl Broadcaster {
    pub(in crate::admin) fn new(service: Arc<Service>, readiness: Readiness) -> Arc<Self> {
        let (state, samples) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { service, readiness, state, samples })
    }

    /// A stream that ends with the server; none if [`MAX_VIEWERS`] are open or the server is stopping.
    pub(super) fn join(self: &Arc<Self>) -> Option<Events> {
        let mut state = self.state.lock();
        state.viewers.retain(Viewer::is_open);
        if state.is_closed || state.viewers.len() >= MAX_VIEWERS {
            return None;
        }
        let (events, waiting) = mpsc::channel(MAX_WAITING);
        let mut viewer = Viewer { events, missed: 0 };
        let begin = Begin { version: env!("CARGO_PKG_VERSION"), points: state.history.points() };
        viewer.send(event("begin", &begin).retry(SAMPLE_INTERVAL * 2));
        if state.is_sampling {
            viewer.send(event("sample", &self.sample(&mut state.history)));
        }
        state.viewers.push(viewer);
        if !std::mem::replace(&mut state.is_sampling, true) {
            tokio::spawn(Arc::clone(self).run());
        }
        drop(state);
        Some(Events(waiting))
    }

    /// Ends every stream, and begins no more.
    pub(in crate::admin) fn end(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.viewers.clear();
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let leases = self.service.leases(sample::MAX_ITEMS).await;
            if !self.tick(leases) {
                return;
            }
        }
    }

    /// Sends a sample to every viewer. Returns whether there are any.
    fn tick(&self, leases: HeldLeases) -> bool {
        let mut state = self.state.lock();
        state.history.leases = leases;
        state.viewers.retain(Viewer::is_open);
        state.is_sampling = !state.viewers.is_empty();
        if state.is_sampling {
            let event = event("sample", &self.sample(&mut state.history));
            state.viewers.iter_mut().for_each(|viewer| viewer.send(event.clone()));
        }
        state.is_sampling
    }

    fn sample(&self, history: &mut History) -> Sample {
        self.samples.fetch_add(1, Ordering::Relaxed);
        sample::take(&self.service, self.readiness.get(), history)
    }
}

/// JSON has no line breaks, which would end an event's line.
fn event(kind: &str, data: &impl Serialize) -> Event {
    // Serialization cannot fail: all keys are texts.
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(kind).data(data)
}

/// The events for one viewer.
pub(super) struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

#[cfg(test)]
pub(in crate::admin) mod tests {
    use std::future::poll_fn;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body::Body as _;
    use tower_service::Service as _;

    use super::*;
    use crate::admin::{Controls, Hosts, Queues, REQUEST_TIMEOUT, routes};
    use crate::clock::{Clock, ManualClock, Timestamp};
    use crate::config::Source;
    use crate::live::ActivePolicies;
    use crate::observe::telemetry::Telemetry;
    use crate::policy::fingerprint::FingerprintKey;
    use crate::policy_files;
    use crate::store::MemoryStore;

    /// A service whose policy limits nothing.
    pub(in crate::admin) fn service() -> Arc<Service> {
        let text = "domain: d\ntables:\n  - { name: t, key: [], rows: { all: unlimited } }\n";
        let sources = [Source { name: "test.yaml".into(), text: text.into() }];
        let store = Arc::new(MemoryStore::new(64));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_unix_nanos(1 << 60)));
        let key = FingerprintKey::fixed(7);
        let first = policy_files::compile(&sources, key).unwrap();
        let policies = ActivePolicies::new(first, Arc::clone(&telemetry), clock.now());
        Service::in_memory(clock, Arc::new(policies), store, telemetry)
    }

    /// The state of the routes.
    pub(in crate::admin) fn shared(controls: Controls) -> Shared {
        Shared {
            service: service(),
            readiness: Readiness::default(),
            broadcaster: broadcaster(),
            controls,
            hosts: Arc::new(Hosts { names: Vec::new(), tls: None, is_unix_socket: false }),
            queues: Queues::default(),
        }
    }

    fn broadcaster() -> Arc<Broadcaster> {
        Broadcaster::new(service(), Readiness::default())
    }

    /// Waits for the next event. Returns whether there was one.
    async fn next(events: &mut Events) -> bool {
        poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await.is_some()
    }

    /// Advances paused time by this many seconds, and lets every task run that is due.
    async fn pass(seconds: u32) {
        for _ in 0..seconds {
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
        tokio::task::yield_now().await;
    }

    fn samples(broadcaster: &Broadcaster) -> u64 {
        broadcaster.samples.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn samples_are_taken_only_while_there_are_viewers() {
        let broadcaster = broadcaster();
        pass(60).await;
        assert_eq!(samples(&broadcaster), 0, "there was no viewer yet");
        for _ in 0..2 {
            let before = samples(&broadcaster);
            let mut viewer = broadcaster.join().unwrap();
            for _ in 0..5 {
                assert!(next(&mut viewer).await);
            }
            assert!(samples(&broadcaster) >= before + 4, "the first event is no sample");
            drop(viewer);
            pass(2).await;
            assert!(!broadcaster.state.lock().is_sampling);
            let at_the_end = samples(&broadcaster);
            pass(60).await;
            assert_eq!(samples(&broadcaster), at_the_end, "there is no viewer any more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_sampler_serves_all() {
        let broadcaster = broadcaster();
        let mut viewers: Vec<_> = (0..MAX_VIEWERS).map(|_| broadcaster.join().unwrap()).collect();
        pass(1).await;
        let before = samples(&broadcaster);
        for _ in 0..20 {
            for viewer in &mut viewers {
                assert!(next(viewer).await);
            }
            pass(1).await;
        }
        let seconds = samples(&broadcaster) - before;
        assert!((19..=21).contains(&seconds), "{seconds} samples in 20 s");
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_are_bounded_and_one_that_leaves_makes_room() {
        let broadcaster = broadcaster();
        let mut viewers: Vec<_> = (0..MAX_VIEWERS).map(|_| broadcaster.join().unwrap()).collect();
        assert!(broadcaster.join().is_none());
        viewers.pop();
        viewers.push(broadcaster.join().unwrap());
        assert!(broadcaster.join().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_does_not_read_loses_its_place() {
        let broadcaster = broadcaster();
        let _silent: Vec<_> = (1..MAX_VIEWERS).map(|_| broadcaster.join().unwrap()).collect();
        let mut reads = broadcaster.join().unwrap();
        for _ in 0..30 {
            assert!(next(&mut reads).await);
            pass(1).await;
        }
        assert_eq!(broadcaster.state.lock().viewers.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn end_ends_every_stream_and_begins_no_more() {
        let broadcaster = broadcaster();
        let mut viewer = broadcaster.join().unwrap();
        pass(1).await;
        broadcaster.end();
        let mut left = 0;
        while next(&mut viewer).await {
            left += 1;
        }
        assert!(left <= MAX_WAITING);
        assert!(broadcaster.join().is_none());
    }

    async fn get_events(routes: &mut axum::Router) -> Response {
        let request =
            Request::get("/events").header(header::HOST, "localhost").body(Body::empty()).unwrap();
        routes.call(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_outlives_the_request_timeout_and_one_too_many_is_rejected() {
        let mut routes = routes(shared(Controls::default()));
        let mut body = get_events(&mut routes).await.into_body();
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < REQUEST_TIMEOUT * 3 {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert!(!frame.unwrap().unwrap().into_data().unwrap().is_empty());
        }
        let mut others = Vec::new();
        for _ in 1..MAX_VIEWERS {
            others.push(get_events(&mut routes).await);
        }
        assert!(others.iter().all(|other| other.status() == StatusCode::OK));
        let refused = get_events(&mut routes).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
    }
}
