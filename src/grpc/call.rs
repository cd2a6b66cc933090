//! The calls of the rate-limit service on one connection.
//!
//! A call that is decided in memory is answered at once. One that waits for the shared store has a task of its own,
//! which goes on even if its caller gives up or the connection ends: it may be a release.
//!
//! Envoy gives up on a call by resetting its stream. If the call took a lease, nobody would hold it. So an answer with a
//! lease is sent only once all that has arrived on the connection is processed and the call is still wanted; otherwise
//! its guard releases the lease.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tonic::{Code, Status};
use unary_h2::{Call, Connection, StreamId, Unread};

use super::http2::TRACE_FIELDS;
use super::in_flight::{InFlight, InFlightGuard};
use super::rejection::Rejection;
use super::sampling::Sampler;
use crate::clock::Timestamp;
use crate::observe::traces::Span;
use crate::service::{Answer, CallResult, LeaseGuard, Response, Service};
use crate::wire::frame::{self, MAX_MESSAGE};

/// Where the calls of one connection go.
pub(super) struct Calls {
    service: Arc<Service>,
    is_traced: bool,
    in_flight: InFlight,
    sampler: Sampler,
    outbox: mpsc::UnboundedSender<Decided>,
    /// Answers with a lease that wait until all that has arrived is processed.
    leases: Vec<LeaseAnswer>,
    /// Answers that wait for room in the peer's windows, if it matters when they are delivered.
    delivering: Vec<Delivery>,
}

struct LeaseAnswer {
    stream: StreamId,
    frame: Vec<u8>,
    lease: LeaseGuard,
    arrived: Option<Timestamp>,
}

/// What is to be done once an answer is delivered.
struct Delivery {
    stream: StreamId,
    lease: Option<LeaseGuard>,
    arrived: Option<Timestamp>,
}

/// A call that has been decided.
pub(super) struct Decided {
    stream: StreamId,
    result: CallResult,
    /// When its message had arrived, if its duration is measured.
    arrived: Option<Timestamp>,
    _in_flight: InFlightGuard,
}

impl Calls {
    pub(super) fn new(
        service: Arc<Service>,
        in_flight: InFlight,
        sampler: Sampler,
        outbox: mpsc::UnboundedSender<Decided>,
    ) -> Self {
        let is_traced = service.is_traced();
        let (leases, delivering) = (Vec::new(), Vec::new());
        Self { service, is_traced, in_flight, sampler, outbox, leases, delivering }
    }

    /// Decides a call, or starts to.
    pub(super) fn begin(&mut self, call: Call<'_>, connection: &mut Connection) {
        self.in_flight.record_arrival();
        if let Some(rejection) = Rejection::of(call.is_post, call.is_grpc) {
            self.service.telemetry().count_invalid_request();
            rejection.answer(call.stream, call.is_head, connection);
            return;
        }
        let stream = call.stream;
        let arrived = self.sampler.sample().then(|| self.service.now());
        let span = if self.is_traced { self.service.begin_span(&headers(&call)) } else { None };
        match self.handle(call.body, span) {
            Response::Ready(result) => self.answer(stream, result, arrived, connection),
            Response::Pending(result) => {
                let (outbox, in_flight) = (self.outbox.clone(), self.in_flight.begin());
                tokio::spawn(async move {
                    let result = result.await;
                    // Fails if the connection has ended. The lease is released then.
                    let decided = Decided { stream, result, arrived, _in_flight: in_flight };
                    let _ = outbox.send(decided);
                });
            }
        }
    }

    fn handle(&self, body: Result<Cow<'_, [u8]>, Unread>, span: Option<Box<Span>>) -> Response {
        let reject = |status, span| Response::Ready((self.service.reject_unread(status), span));
        match body {
            Ok(body) => match frame::message(&body) {
                Ok(message) => self.service.handle(message, span),
                Err(status) => reject(status, span),
            },
            Err(unread) => reject(unread_status(unread), span),
        }
    }

    pub(super) fn answer_decided(&mut self, decided: Decided, connection: &mut Connection) {
        let Decided { stream, result, arrived, .. } = decided;
        self.answer(stream, result, arrived, connection);
    }

    fn answer(
        &mut self,
        stream: StreamId,
        (answer, mut span): CallResult,
        arrived: Option<Timestamp>,
        connection: &mut Connection,
    ) {
        if let Some(span) = &mut span {
            span.record_end(answer.as_ref().err());
        }
        match answer {
            Ok(Answer { frame, lease: None, .. }) => {
                if connection.answer(stream, &frame) && arrived.is_some() {
                    self.deliver(Delivery { stream, lease: None, arrived }, connection);
                }
            }
            Ok(Answer { frame, lease: Some(lease), .. }) => {
                self.leases.push(LeaseAnswer { stream, frame, lease, arrived });
            }
            Err(status) => {
                connection.answer_error(stream, code(status.code()), status.message());
            }
        }
    }

    /// Completes a delivery if all of the answer has been sent. Otherwise it waits.
    fn deliver(&mut self, delivery: Delivery, connection: &Connection) {
        if connection.queued(delivery.stream).is_some() {
            self.delivering.push(delivery);
            return;
        }
        if let Some(lease) = delivery.lease {
            lease.disarm();
        }
        if let Some(arrived) = delivery.arrived {
            self.service.observe_call(arrived);
        }
    }

    /// Completes deliveries, and sends the answers with leases. To be called once all that has arrived on the
    /// connection is processed.
    pub(super) fn answer_leases(&mut self, connection: &mut Connection) {
        for delivery in std::mem::take(&mut self.delivering) {
            self.deliver(delivery, connection);
        }
        for LeaseAnswer { stream, frame, lease, arrived } in std::mem::take(&mut self.leases) {
            if connection.answer(stream, &frame) {
                self.deliver(Delivery { stream, lease: Some(lease), arrived }, connection);
            }
        }
    }

    /// Releases the lease of a call that is not wanted any more.
    pub(super) fn cancel(&mut self, stream: StreamId) {
        self.delivering.retain(|delivery| delivery.stream != stream);
        self.leases.retain(|answer| answer.stream != stream);
    }
}

/// The fields of a call that its trace is read from.
fn headers(call: &Call<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (field, value) in &call.fields {
        if let Some(name) = TRACE_FIELDS.get(field.get())
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn unread_status(unread: Unread) -> Status {
    Status::resource_exhausted(match unread {
        Unread::TooLarge => format!("a request of more than {MAX_MESSAGE} bytes"),
        Unread::TooMuch => {
            "too many bytes of incomplete messages; send fewer messages at a time, or send them whole".to_owned()
        }
    })
}

/// The number of a gRPC status.
fn code(code: Code) -> u32 {
    u32::try_from(i32::from(code)).unwrap_or(2)
}
