//! `/events`: samples for the page, by server-sent events.
//!
//! One sampler serves all viewers. It runs while there are any, and only then.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response, Sse};
use futures_core::Stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::sample::{self, Past};
use super::{Readiness, Shared};
use crate::service::Service;

/// How often a sample is taken.
const TICK: Duration = Duration::from_secs(1);

/// How many pages may be open at a time: far fewer than there may be connections, so that probes find a place.
pub(super) const MOST_VIEWERS: usize = 16;

/// How many events wait for a viewer that does not read, and how many it may miss before its place is another's.
const MOST_WAITING: usize = 4;
const MOST_MISSED: u32 = 10;

pub(super) async fn events(State(shared): State<Shared>) -> Response {
    match shared.watch.join() {
        // Proxies are not to hold events back.
        Some(events) => ([("x-accel-buffering", "no")], Sse::new(events)).into_response(),
        None => {
            let text = format!("{MOST_VIEWERS} pages are open, or the server stops\n");
            let headers = [(header::RETRY_AFTER, "10")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
        }
    }
}

/// Whoever watches, and the sampler for all of them.
pub(super) struct Watch {
    service: Arc<Service>,
    readiness: Readiness,
    state: Mutex<Watched>,
    taken: AtomicU64,
}

#[derive(Default)]
struct Watched {
    viewers: Vec<Viewer>,
    past: Past,
    is_sampling: bool,
    is_over: bool,
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

    fn is_here(&self) -> bool {
        !self.events.is_closed() && self.missed <= MOST_MISSED
    }
}

impl Watch {
    pub(super) fn new(service: Arc<Service>, readiness: Readiness) -> Arc<Self> {
        let (state, taken) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { service, readiness, state, taken })
    }

    /// A stream that ends with the server; none where as many are open as may be.
    pub(super) fn join(self: &Arc<Self>) -> Option<Events> {
        let mut state = self.state.lock();
        state.viewers.retain(Viewer::is_here);
        if state.is_over || state.viewers.len() >= MOST_VIEWERS {
            return None;
        }
        let (events, waiting) = mpsc::channel(MOST_WAITING);
        let mut viewer = Viewer { events, missed: 0 };
        let begin = json!({ "version": env!("CARGO_PKG_VERSION"), "points": state.past.points() });
        viewer.send(event("begin", &begin).retry(TICK * 2));
        if state.is_sampling {
            viewer.send(event("sample", &self.sample(&mut state.past)));
        }
        state.viewers.push(viewer);
        if !std::mem::replace(&mut state.is_sampling, true) {
            tokio::spawn(Arc::clone(self).run());
        }
        drop(state);
        Some(Events(waiting))
    }

    /// Ends every stream, and lets none begin.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        state.viewers.clear();
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.tick() {
                return;
            }
        }
    }

    /// Tells everybody how things stand. Returns whether there is anybody.
    fn tick(&self) -> bool {
        let mut state = self.state.lock();
        state.viewers.retain(Viewer::is_here);
        state.is_sampling = !state.viewers.is_empty();
        if state.is_sampling {
            let event = event("sample", &self.sample(&mut state.past));
            state.viewers.iter_mut().for_each(|viewer| viewer.send(event.clone()));
        }
        state.is_sampling
    }

    fn sample(&self, past: &mut Past) -> Value {
        self.taken.fetch_add(1, Ordering::Relaxed);
        sample::take(&self.service, self.readiness.get(), past)
    }
}

/// JSON has no line breaks, which would end an event's line.
fn event(kind: &str, data: &Value) -> Event {
    Event::default().event(kind).data(data.to_string())
}

/// The events for one viewer.
pub(super) struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}
