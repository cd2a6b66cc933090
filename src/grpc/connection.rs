//! One gRPC connection.
//!
//! On h2 itself. hyper would make a task of every call and hand it a body in parts; tonic would box the
//! call, its future and both bodies. Here all calls that have come in are accepted first and then answered
//! one after another, so that their answers leave together.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;
use tonic::service::Routes;

use super::arriving::Arriving;
use super::bounded::{Bounded, Reading};
use super::in_flight::InFlight;
use super::sampling::Sampler;
use super::{call, http2_settings, request_check, routed};
use crate::service::Service;
use crate::tls::Identity;

/// How long a new connection may take to say that it speaks TLS, where it must, and then HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many calls are accepted before they are answered.
const BATCH: usize = 64;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("it did not speak within {HANDSHAKE:?}")]
    Silent,
    #[error("its TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

/// What a worker's calls are for.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) rate_limit: Arc<Service>,
    pub(super) others: Routes,
    pub(super) in_flight: InFlight,
    pub(super) arriving: Arriving,
    pub(super) timing: Sampler,
}

/// Where the calls of one connection go.
struct Dispatch {
    rate_limit: call::Calls,
    others: Routes,
    in_flight: InFlight,
}

impl Dispatch {
    fn of_a_connection(services: Services, reading: Reading) -> Self {
        let Services { rate_limit: service, others, in_flight, arriving, timing } = services;
        let arriving = arriving.of_a_connection();
        let rate_limit =
            call::Calls { service, arriving, reading, in_flight: in_flight.clone(), timing };
        Self { rate_limit, others, in_flight }
    }

    fn start(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.in_flight.record_arrival();
        if let Err(refusal) = request_check::check(request.method(), request.headers()) {
            if request.uri().path() == call::PATH {
                self.rate_limit.service.telemetry().count_invalid_request();
            }
            return refusal.send(respond);
        }
        if request.uri().path() == call::PATH {
            self.rate_limit.start(request, respond);
        } else {
            let (routes, counted) = (self.others.clone(), self.in_flight.begin());
            tokio::spawn(async move {
                routed::answer(routes, request, respond).await;
                drop(counted);
            });
        }
    }
}

/// Serves a connection until it ends. Once `draining` completes it takes no more calls, and ends when
/// those it has are answered.
///
/// # Errors
/// Where the other side does not speak TLS, if it must, or HTTP/2, or stops speaking it.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    tls: Option<Identity>,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let Some(tls) = tls else { return serve_http2(stream, services, draining).await };
    // Boxed, so that a connection in plain text does not keep the room that TLS takes.
    Box::pin(async move {
        let stream = in_time(tls.accept(stream)).await??;
        serve_http2(stream, services, draining).await
    })
    .await
}

async fn in_time<T>(handshake: impl Future<Output = T>) -> Result<T, ConnectionError> {
    tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| ConnectionError::Silent)
}

async fn serve_http2(
    io: impl AsyncRead + AsyncWrite + Unpin,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let reading = Reading::default();
    let handshake = http2_settings::http2().handshake(Bounded::new(io, reading.clone()));
    let mut connection = in_time(handshake).await??;
    reading.keep_end_back();
    // A turn that used its budget up is told of the drain all the same.
    let mut draining = pin!(coop::unconstrained(draining));
    let mut is_draining = false;
    let mut has_had_its_turn = false;
    let dispatch = Dispatch::of_a_connection(services, reading.clone());
    let mut accepted = Vec::new();
    let served = std::future::poll_fn(|context| {
        if std::mem::take(&mut has_had_its_turn) {
            // Its own answers may have woken it already. Then it would have one turn after another, dozens of
            // them, before the runtime looks on which other connections bytes have come.
            return pin!(tokio::task::yield_now()).poll(context).map(Ok);
        }
        loop {
            let next = connection.poll_accept(context);
            let next = match next {
                Poll::Ready(Some(Ok(call))) => {
                    accepted.push(call);
                    if accepted.len() < BATCH {
                        continue;
                    }
                    Poll::Pending
                }
                next => next,
            };
            let has_accepted = !accepted.is_empty();
            for (request, respond) in accepted.drain(..) {
                dispatch.start(request, respond);
            }
            match next {
                Poll::Ready(ended) => {
                    return Poll::Ready(ended.map_or(Ok(()), |call| call.map(drop)));
                }
                // What was answered has still to go out.
                Poll::Pending if has_accepted => {}
                Poll::Pending if reading.let_end() => {}
                Poll::Pending if !is_draining && draining.as_mut().poll(context).is_ready() => {
                    is_draining = true;
                    connection.graceful_shutdown();
                }
                Poll::Pending => {
                    has_had_its_turn = !coop::has_budget_remaining();
                    return Poll::Pending;
                }
            }
        }
    });
    Ok(served.await?)
}

#[cfg(test)]
mod tests;
