//! Which service a call is for: nearly always the one, and that is asked first.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service as _;

use super::answered::{Answered, Answering};
use crate::service::Grpc;
use crate::wire::RateLimitServiceServer;

/// The path of every call of the service.
const CALLS: &str = "/envoy.service.ratelimit.v3.RateLimitService/";

type Calls = Answered<RateLimitServiceServer<Grpc>>;
type Called =
    Answering<<RateLimitServiceServer<Grpc> as tower_service::Service<Request<Body>>>::Future>;
type Other = <Routes as tower_service::Service<Request<Body>>>::Future;

/// The services of one worker.
#[derive(Clone)]
pub(super) struct Routed {
    calls: Calls,
    others: Routes,
}

impl Routed {
    pub(super) const fn new(calls: Calls, others: Routes) -> Self {
        Self { calls, others }
    }
}

impl Routed {
    /// The same for one more connection.
    pub(super) fn of_a_connection(self) -> Self {
        Self { calls: self.calls.of_a_connection(), ..self }
    }
}

impl hyper::service::Service<Request<Incoming>> for Routed {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Routing;

    fn call(&self, request: Request<Incoming>) -> Routing {
        if request.uri().path().starts_with(CALLS) {
            Routing::Call(self.calls.clone().call(request))
        } else {
            Routing::Other(Box::pin(self.others.clone().call(request.map(Body::new))))
        }
    }
}

/// An answer to come.
pub(super) enum Routing {
    /// Of the rate-limit service.
    Call(Called),
    /// Of any other.
    Other(Pin<Box<Other>>),
}

impl Future for Routing {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Call(call) => Pin::new(call).poll(context),
            Self::Other(other) => other.as_mut().poll(context),
        }
    }
}
