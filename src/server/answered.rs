//! Whether an answer went out, for the calls where that matters.
//!
//! Envoy gives up on a call by resetting its stream. Two things must hold then. A lease that was taken
//! for a call whose answer never left is given back: [`Answered`] watches the response body. And a call
//! that was received whole is carried out even if it was reset right behind its last byte, since it may
//! be a release: the request body then ends where the reset came, instead of failing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::body::Body as TonicBody;
use tower_service::Service;

use super::arriving::{Arriving, Part};
use crate::service::LeaseGuard;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How many calls one worker has begun and not answered yet.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    fn begin(&self) -> Call {
        self.0.fetch_add(1, Ordering::AcqRel);
        Call(self.clone())
    }
}

/// One of them; it ends when this is dropped.
#[derive(Debug)]
struct Call(InFlight);

impl Drop for Call {
    fn drop(&mut self) {
        let Self(InFlight(count)) = self;
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A gRPC service that knows whether its answers went out.
#[derive(Debug, Clone)]
pub struct Answered<S> {
    inner: S,
    in_flight: InFlight,
    arriving: Arriving,
}

impl<S> Answered<S> {
    /// Wraps a service, whose calls are counted.
    pub fn new(inner: S, in_flight: InFlight) -> Self {
        Self { inner, in_flight, arriving: Arriving::default() }
    }

    /// The same for one more connection.
    pub(super) fn of_a_connection(self) -> Self {
        Self { arriving: Arriving::default(), ..self }
    }
}

impl<S, B> Service<http::Request<B>> for Answered<S>
where
    S: Service<http::Request<TonicBody>, Response = http::Response<TonicBody>>,
    S::Future: Unpin,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = self.in_flight.begin();
        let part = self.arriving.part();
        let request =
            request.map(|body| TonicBody::new(UntilReset { body, has_data: false, part }));
        Answering { inner: self.inner.call(request), _call: call }
    }
}

/// The answer to come. One that took a lease is watched on its way out.
#[derive(Debug)]
pub struct Answering<F> {
    inner: F,
    _call: Call,
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<http::Response<TonicBody>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut response = std::task::ready!(Pin::new(&mut self.inner).poll(context))?;
        let guard = response.extensions_mut().remove::<Arc<LeaseGuard>>();
        Poll::Ready(Ok(match guard {
            Some(guard) => response.map(|body| TonicBody::new(Watched { body, guard })),
            None => response,
        }))
    }
}

/// A request body that ends where its stream was reset.
struct UntilReset<B> {
    body: B,
    has_data: bool,
    part: Part,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for UntilReset<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let ends = self.has_data && matches!(frame, Some(Err(_)));
        self.has_data = true;
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !self.body.is_end_stream()
        {
            self.part.grow(data.len())?;
        }
        Poll::Ready(if ends { None } else { frame.map(|frame| frame.map_err(Into::into)) })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that tells its guard when it was taken whole by the connection.
struct Watched {
    body: TonicBody,
    guard: Arc<LeaseGuard>,
}

impl Body for Watched {
    type Data = <TonicBody as Body>::Data;
    type Error = <TonicBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_last =
            frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        if is_last {
            self.guard.answered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
