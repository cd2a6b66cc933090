//! One call of the rate-limit service, on HTTP/2 itself.
//!
//! Nearly every call is there whole when its stream is accepted and its answer fits the windows: it is
//! answered on the spot, without a task of its own. Else it goes on in one.
//!
//! Envoy gives up on a call by resetting its stream. Two things must hold then. A lease that was taken for
//! a call that was given up is given back: its guard is told only once all that has come on the connection
//! has been read, the call among it is still wanted, and the connection has taken the answer. And a call that
//! was received whole is carried out even if it was reset right behind its last byte, since it may be a
//! release.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tonic::Status;

use super::arriving::{Arriving, Part};
use super::bounded::Reading;
use super::in_flight::InFlight;
use super::sampling::Sampler;
use crate::clock::Timestamp;
use crate::observe::traces::Span;
use crate::service::{Answer, CallResult, LeaseGuard, Response, Service};
use crate::wire::frame;

/// The path of a call.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// How long a call may wait for its body, and then for room for its answer. Envoy waits a fraction of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// The calls of one connection.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) service: Arc<Service>,
    pub(super) arriving: Arriving,
    pub(super) reading: Reading,
    pub(super) in_flight: InFlight,
    pub(super) timing: Sampler,
}

impl Calls {
    /// Answers a call, now if that can be.
    pub(super) fn start(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let span = self.service.begin_span(request.headers());
        let body = request.into_body();
        let mut call = Call { respond, step: Step::Receiving(body, None), arrived: None, span };
        if call.poll(self, &mut Context::from_waker(Waker::noop())).is_pending() {
            let (calls, counted) = (self.clone(), self.in_flight.begin());
            tokio::spawn(async move {
                if call.carry(&calls).await.is_err() {
                    tracing::debug!(
                        "a call was given up: its end, or room for its answer, did not come"
                    );
                }
                drop(counted);
            });
        }
    }

    /// The time, for a call that is timed.
    fn arrived(&self) -> Option<Timestamp> {
        self.timing.sample().then(|| self.service.now())
    }
}

/// A call under way.
struct Call {
    respond: SendResponse<Bytes>,
    step: Step,
    /// When its message had come, if it is timed.
    arrived: Option<Timestamp>,
    /// Ends with the call.
    span: Option<Box<Span>>,
}

enum Step {
    /// Its body is coming; so much of it has come in parts.
    Receiving(RecvStream, Option<Received>),
    /// The shared store is asked.
    Deciding(Pin<Box<dyn Future<Output = CallResult> + Send>>),
    /// Its answer waits until there is room for it.
    Sending(SendStream<Bytes>, Bytes, Option<LeaseGuard>),
    /// There is nothing more to send.
    Over,
}

struct Received {
    bytes: BytesMut,
    part: Part,
}

impl Call {
    /// Carries the call as far as it goes; it is over when this is ready.
    fn poll(&mut self, calls: &Calls, context: &mut Context<'_>) -> Poll<()> {
        if let Step::Receiving(body, received) = &mut self.step {
            let body = ready!(receive(body, received, &calls.arriving, context));
            self.arrived = calls.arrived();
            self.answer(calls, body);
        }
        self.poll_answered(calls, context)
    }

    /// Carries the call to its end. A message that has come is always answered, however long others' turns take.
    async fn carry(&mut self, calls: &Calls) -> Result<(), Elapsed> {
        if let Step::Receiving(body, received) = &mut self.step {
            let receive =
                |context: &mut Context<'_>| receive(body, received, &calls.arriving, context);
            let body = timeout(PATIENCE, std::future::poll_fn(receive)).await?;
            self.arrived = calls.arrived();
            match (&body, received) {
                (Ok(message), Some(_)) => {
                    let bytes = message.len();
                    calls.arriving.in_turn(bytes, || self.answer(calls, body)).await;
                }
                // A thousand may end with their connection.
                (Err(Unread::Gone), _) => {
                    calls.arriving.in_turn(0, || self.step = Step::Over).await
                }
                _ => self.answer(calls, body),
            }
        }
        if let Step::Deciding(told) = &mut self.step {
            // Not given up where its caller gives up: it may be a release. The store has a deadline of its own.
            let told = told.await;
            self.step = self.begin(told);
        }
        timeout(PATIENCE, std::future::poll_fn(|context| self.poll_answered(calls, context))).await
    }

    fn answer(&mut self, calls: &Calls, body: Result<Bytes, Unread>) {
        let span = self.span.take();
        let answering = match body {
            Ok(body) => match frame::message(&body) {
                Ok(message) => calls.service.handle(message, span),
                Err(status) => Response::Ready((calls.service.reject_unread(status), span)),
            },
            Err(Unread::Refused(status)) => {
                Response::Ready((calls.service.reject_unread(status), span))
            }
            Err(Unread::Gone) => {
                self.step = Step::Over;
                return;
            }
        };
        self.step = match answering {
            Response::Ready(result) => self.begin(result),
            Response::Pending(result) => Step::Deciding(result),
        };
    }

    /// Carries a call on whose message has come.
    fn poll_answered(&mut self, calls: &Calls, context: &mut Context<'_>) -> Poll<()> {
        if let Step::Deciding(told) = &mut self.step {
            // Carried out even where the caller gives up meanwhile: it may be a release.
            let told = ready!(told.as_mut().poll(context));
            self.step = self.begin(told);
        }
        match &mut self.step {
            Step::Sending(stream, frame, lease) => {
                if lease.is_some() {
                    // What is there to be read may give the call up, and nobody would hold the lease.
                    ready!(calls.reading.poll_dry(context));
                }
                let is_sent = ready!(send(stream, frame, lease, context));
                if let Some(arrived) = self.arrived.take()
                    && is_sent
                {
                    calls.service.observe_call(arrived);
                }
                Poll::Ready(())
            }
            Step::Receiving(..) | Step::Deciding(_) | Step::Over => Poll::Ready(()),
        }
    }

    /// Sends the head of an answer. There is nothing more to send for a call that failed, or whose caller
    /// is gone.
    fn begin(&mut self, (answer, span): CallResult) -> Step {
        self.span = span;
        if let Some(span) = &mut self.span {
            span.record_end(answer.as_ref().err());
        }
        match answer {
            Ok(Answer { frame, lease, .. }) => {
                let mut head = http::Response::new(());
                head.headers_mut().insert(CONTENT_TYPE, GRPC);
                match self.respond.send_response(head, false) {
                    Ok(stream) => Step::Sending(stream, frame.into(), lease),
                    Err(_) => Step::Over,
                }
            }
            Err(status) => {
                // Fails where the caller is gone.
                let _ = self.respond.send_response(status.into_http(), true);
                Step::Over
            }
        }
    }
}

/// Why there is no body.
enum Unread {
    /// It is refused.
    Refused(Status),
    /// Its caller gave it up, or is gone.
    Gone,
}

impl From<Status> for Unread {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// The whole body, once it has come. One that was given up behind its last byte has come whole, too.
///
/// # Errors
/// [`Unread::Refused`] with `RESOURCE_EXHAUSTED` where it is too large, or too much has come on the
/// connection that is not whole.
fn receive(
    body: &mut RecvStream,
    received: &mut Option<Received>,
    arriving: &Arriving,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, Unread>> {
    loop {
        let more = match ready!(body.poll_data(context)) {
            Some(Ok(more)) => more,
            ended => {
                // Its part counts until it is answered.
                let whole = |received: &mut Received| std::mem::take(&mut received.bytes).freeze();
                let bytes = received.as_mut().map(whole);
                let bytes = bytes.unwrap_or_default();
                let is_gone = ended.is_some() && frame::message(&bytes).is_err();
                return Poll::Ready(if is_gone { Err(Unread::Gone) } else { Ok(bytes) });
            }
        };
        if received.is_none() && body.is_end_stream() {
            return Poll::Ready(Ok(more));
        }
        let Received { bytes, part } = received
            .get_or_insert_with(|| Received { bytes: BytesMut::new(), part: arriving.part() });
        bytes.extend_from_slice(&more);
        frame::check(bytes)?;
        part.grow(more.len())?;
        // Fails where the stream is gone, and its part of the window with it.
        let _ = body.flow_control().release_capacity(more.len());
    }
}

/// Sends the answer, as fast as its reader makes room for it: nearly always at once. Returns whether it went out
/// whole.
fn send(
    stream: &mut SendStream<Bytes>,
    frame: &mut Bytes,
    lease: &mut Option<LeaseGuard>,
    context: &mut Context<'_>,
) -> Poll<bool> {
    if lease.is_some() && stream.poll_reset(context).is_ready() {
        return Poll::Ready(false);
    }
    while !frame.is_empty() {
        stream.reserve_capacity(frame.len());
        let room = match stream.capacity() {
            0 => {
                if stream.poll_reset(context).is_ready() {
                    return Poll::Ready(false);
                }
                let Some(Ok(room)) = ready!(stream.poll_capacity(context)) else {
                    return Poll::Ready(false);
                };
                room
            }
            room => room,
        };
        if stream.send_data(frame.split_to(room.min(frame.len())), false).is_err() {
            return Poll::Ready(false);
        }
    }
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, OK);
    let is_sent = stream.send_trailers(trailers).is_ok();
    if is_sent && let Some(lease) = lease.take() {
        lease.disarm();
    }
    Poll::Ready(is_sent)
}
