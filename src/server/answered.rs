//! Whether an answer went out, for the calls where that matters.
//!
//! Envoy gives up on a call by resetting its stream. Two things must hold then. A lease that was taken
//! for a call whose answer never left is given back: [`Answered`] watches the response body. And a call
//! that was received whole is carried out even if it was reset right behind its last byte, since it may
//! be a release: the request body then ends where the reset came, instead of failing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tonic::body::Body as TonicBody;
use tonic::server::NamedService;
use tower_service::Service;

use crate::service::LeaseGuard;

/// A gRPC service that knows whether its answers went out.
#[derive(Debug, Clone)]
pub struct Answered<S> {
    inner: S,
}

impl<S> Answered<S> {
    /// Wraps a service.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// tonic's router goes by the name of the service within.
impl<S: NamedService> NamedService for Answered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<TonicBody>> for Answered<S>
where
    S: Service<http::Request<TonicBody>, Response = http::Response<TonicBody>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<TonicBody>) -> Self::Future {
        let request = request.map(|body| TonicBody::new(UntilReset { body, has_data: false }));
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            let guard = response.extensions_mut().remove::<Arc<LeaseGuard>>();
            Ok(match guard {
                Some(guard) => response.map(|body| TonicBody::new(Watched { body, guard })),
                None => response,
            })
        })
    }
}

/// A request body that ends where its stream was reset.
struct UntilReset {
    body: TonicBody,
    has_data: bool,
}

impl Body for UntilReset {
    type Data = <TonicBody as Body>::Data;
    type Error = <TonicBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let ends = self.has_data && matches!(frame, Some(Err(_)));
        self.has_data = true;
        Poll::Ready(if ends { None } else { frame })
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
