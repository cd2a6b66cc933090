//! One gRPC connection: reads and writes for the state machine in `unary_h2`, and does what its events say.
//!
//! What has been read is decided call by call, and all answers are written together. A connection is read in turns:
//! after one it lets the runtime look at the others.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::coop;
use tokio::time::{Instant, Sleep};
use tonic::service::Routes;
use unary_h2::{Budget, Config, Connection, Event};

use super::call::{Calls, Decided};
use super::http2::TURN;
use super::in_flight::{InFlight, InFlightGuard};
use super::refusals::Refusals;
use super::routed::{Part, Routed};
use super::sampling::Sampler;
use crate::service::Service;
use crate::tls::Identity;

/// How long a new connection may take for its TLS handshake, and then for the preface of HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Output is written once it has this many bytes, even if there is more to be read.
const MAX_OUTPUT: usize = 64 << 10;

thread_local! {
    /// Where this worker's connections read to. What they have read and not processed they keep themselves, so that a
    /// silent connection has no buffer.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No preface arrived in time.
    #[error("the peer sent no HTTP/2 preface within {HANDSHAKE:?}")]
    Silent,
    /// The TLS handshake failed.
    #[error("its TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
    /// The peer broke a rule of HTTP/2, or did too much.
    #[error(transparent)]
    Http2(#[from] unary_h2::ConnectionError),
}

/// What the connections of a worker share.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) rate_limit: Arc<Service>,
    pub(super) others: Routes,
    pub(super) in_flight: InFlight,
    pub(super) sampler: Sampler,
    pub(super) http2: Arc<Config>,
    pub(super) partial: Budget,
    pub(super) refusals: Refusals,
}

/// Serves a connection until it ends. Once `draining` completes it takes no more calls, and ends when those it has are
/// answered.
///
/// # Errors
/// If the peer does not speak TLS, if it must, or HTTP/2, or breaks its rules.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    tls: Option<Identity>,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let Some(tls) = tls else { return serve_http2(stream, services, draining).await };
    // Boxed, so that a connection in plain text does not have the size of TLS.
    Box::pin(async move {
        let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                services.refusals.handshake_failed();
                return Err(error.into());
            }
            Err(_) => {
                services.refusals.silent();
                return Err(ConnectionError::Silent);
            }
        };
        serve_http2(stream, services, draining).await
    })
    .await
}

async fn serve_http2(
    io: impl AsyncRead + AsyncWrite + Unpin,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let mut driver = Driver::new(io, services);
    // Polled also when the connection's turn has used the task's budget up.
    let mut draining = pin!(coop::unconstrained(draining));
    std::future::poll_fn(|context| driver.poll(context, draining.as_mut())).await
}

/// Drives one connection.
struct Driver<I> {
    io: I,
    connection: Connection,
    calls: Calls,
    routed: Routed,
    decided: mpsc::UnboundedReceiver<Decided>,
    parts: mpsc::UnboundedReceiver<Part>,
    in_flight: InFlight,
    refusals: Refusals,
    /// Held while a stream is open.
    busy: Option<InFlightGuard>,
    opened: Instant,
    /// What has been read and not processed.
    unread: Vec<u8>,
    timer: Option<(Duration, Pin<Box<Sleep>>)>,
    is_draining: bool,
    /// Whether the last turn ended before all that was read had been processed.
    has_more: bool,
    must_yield: bool,
}

/// How a turn ended.
enum Turn {
    /// All that has arrived is processed.
    CaughtUp,
    /// The turn is over, or the output has to be written first.
    Interrupted,
    /// The peer has closed its side.
    Closed,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    fn new(io: I, services: Services) -> Self {
        let Services { rate_limit, others, in_flight, sampler, http2, partial, refusals } =
            services;
        let (decided_sender, decided) = mpsc::unbounded_channel();
        let (part_sender, parts) = mpsc::unbounded_channel();
        Self {
            io,
            connection: Connection::new(http2, partial, Duration::ZERO),
            calls: Calls::new(rate_limit, in_flight.clone(), sampler, decided_sender),
            routed: Routed::new(others, part_sender),
            decided,
            parts,
            in_flight,
            refusals,
            busy: None,
            opened: Instant::now(),
            unread: Vec::new(),
            timer: None,
            is_draining: false,
            has_more: false,
            must_yield: false,
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), ConnectionError>> {
        if std::mem::take(&mut self.must_yield) {
            // The connection may have been woken during its turn. It would then have the next one before the runtime
            // looks on which other connections bytes have arrived.
            return pin!(tokio::task::yield_now()).poll(context).map(Ok);
        }
        let now = self.opened.elapsed();
        self.connection.begin_turn(now);
        if !self.is_draining && draining.poll(context).is_ready() {
            self.is_draining = true;
            self.connection.drain(now);
        }
        self.poll_timer(context, now);
        if !self.connection.is_open() && now >= HANDSHAKE {
            self.refusals.silent();
            return Poll::Ready(Err(ConnectionError::Silent));
        }
        self.poll_inbox(context);
        let result = self.poll_turn(context);
        if self.connection.open_streams() == 0 {
            self.busy = None;
        } else if self.busy.is_none() {
            self.busy = Some(self.in_flight.begin());
        }
        if result.is_pending() {
            self.routed.wake_senders(&self.connection);
            self.set_timer(context);
        }
        result
    }

    /// Reads and processes one turn, and writes what came of it.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            // A peer that does not read its answers is not read. What it is to be answered stays bounded so.
            match self.poll_write(context) {
                Poll::Ready(Ok(())) if self.connection.is_finished() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                // The peer has gone.
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending if self.connection.is_finished() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
            let turn = match self.read_turn(context) {
                Ok(turn) => turn,
                Err(error) => {
                    self.refusals.failed(&error, self.connection.open_streams());
                    // The GOAWAY, as far as the socket takes it.
                    let _ = self.poll_write(context);
                    return Poll::Ready(Err(error.into()));
                }
            };
            match turn {
                Turn::CaughtUp => {
                    self.calls.answer_leases(&mut self.connection);
                    match self.poll_write(context) {
                        Poll::Ready(Ok(())) if self.connection.is_finished() => {
                            return Poll::Ready(Ok(()));
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                        _ => return Poll::Pending,
                    }
                }
                Turn::Interrupted if self.connection.is_turn_over() => {
                    // What does not fit the socket is written first in the next turn.
                    if let Poll::Ready(Err(_)) = self.poll_write(context) {
                        return Poll::Ready(Ok(()));
                    }
                    self.must_yield = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Interrupted => {}
                Turn::Closed => {
                    let _ = self.poll_write(context);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Reads and processes until nothing more has arrived, or the turn is over.
    fn read_turn(&mut self, context: &mut Context<'_>) -> Result<Turn, unary_h2::ConnectionError> {
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                let kept = self.unread.len();
                buffer.resize(kept + TURN, 0);
                let (front, rest) = buffer.split_at_mut(kept);
                front.copy_from_slice(&self.unread);
                self.unread.clear();
                let mut length = kept;
                if !self.has_more {
                    let mut read = ReadBuf::new(rest);
                    match Pin::new(&mut self.io).poll_read(context, &mut read) {
                        Poll::Pending => {
                            self.unread.extend_from_slice(front);
                            if self.unread.is_empty() {
                                // A silent connection keeps no buffer.
                                self.unread = Vec::new();
                            }
                            return Ok(Turn::CaughtUp);
                        }
                        Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                            length += read.filled().len();
                        }
                        Poll::Ready(_) => return Ok(Turn::Closed),
                    }
                }
                let mut input = buffer.get(..length).unwrap_or_default();
                while let Some(event) = self.connection.receive(&mut input)? {
                    self.handle(event);
                }
                self.unread.extend_from_slice(input);
                self.has_more = self.connection.has_more();
                if self.connection.is_turn_over() || self.connection.output().len() >= MAX_OUTPUT {
                    return Ok(Turn::Interrupted);
                }
            }
        })
    }

    /// Writes all output. A turn that has used the task's budget up still writes: its answers would keep others waiting.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Self { io, connection, .. } = self;
        let write = std::future::poll_fn(|context| {
            while !connection.output().is_empty() {
                let written = ready!(Pin::new(&mut *io).poll_write(context, connection.output()))?;
                if written == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                connection.written(written);
            }
            Pin::new(&mut *io).poll_flush(context)
        });
        pin!(coop::unconstrained(write)).poll(context)
    }

    /// Sends what the tasks of this connection have: results of the shared store, and answers of other services.
    fn poll_inbox(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(decided)) = self.decided.poll_recv(context) {
            self.calls.answer_decided(decided, &mut self.connection);
        }
        while let Poll::Ready(Some(part)) = self.parts.poll_recv(context) {
            self.routed.send(part, &mut self.connection);
        }
    }

    /// Gives up what has been waiting for too long.
    fn poll_timer(&mut self, context: &mut Context<'_>, now: Duration) {
        if let Some((_, timer)) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            self.timer = None;
            self.connection.tick(now);
            while let Ok(Some(event)) = self.connection.receive(&mut &[][..]) {
                self.handle(event);
            }
        }
    }

    /// Does what an event says.
    #[inline]
    fn handle(&mut self, event: Event<'_>) {
        let Self { connection, calls, routed, refusals, .. } = self;
        match event {
            Event::Call(call) => calls.begin(call, connection),
            Event::Request { stream, request, is_end } => {
                routed.begin(stream, *request, is_end, connection);
            }
            Event::Data { stream, bytes, is_end } => routed.receive(stream, bytes, is_end),
            Event::Trailers { stream, .. } => routed.end(stream),
            Event::Reset { stream, code } => {
                refusals.cancelled(stream, code);
                calls.cancel(stream);
                routed.cancel(stream);
            }
            Event::Refused { stream, reason } => {
                refusals.refused(stream, reason);
                calls.cancel(stream);
                routed.cancel(stream);
            }
            Event::GoAway { code } => tracing::trace!(%code, "the peer opens no more streams"),
        }
    }

    fn set_timer(&mut self, context: &mut Context<'_>) {
        let handshake = (!self.connection.is_open()).then_some(HANDSHAKE);
        let deadline = [handshake, self.connection.next_deadline()].into_iter().flatten().min();
        let Some(deadline) = deadline else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_none_or(|(set, _)| *set != deadline) {
            let mut timer = Box::pin(tokio::time::sleep_until(self.opened + deadline));
            if timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            self.timer = Some((deadline, timer));
        }
    }
}

#[cfg(test)]
mod tests;
