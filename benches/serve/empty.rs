//! The least that a gRPC server does: it answers every call OK with one status and looks at nothing.

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit, rate_limit::Unit,
};
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use tollgate::wire::{RateLimitRequest, RateLimitResponse};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

struct Empty;

#[tonic::async_trait]
impl RateLimitService for Empty {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let status = DescriptorStatus {
            code: Code::Ok.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: 10,
                unit: Unit::Second.into(),
                name: String::new(),
                unit_multiplier: None,
            }),
            limit_remaining: 9,
            duration_until_reset: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            quota: None,
        };
        Ok(Response::new(RateLimitResponse {
            overall_code: Code::Ok.into(),
            statuses: vec![status],
            ..RateLimitResponse::default()
        }))
    }
}

#[expect(unreachable_pub, reason = "a module of two programs")]
/// The service on tonic's server, with as many streams to a connection as tollgate has.
pub fn serving(server: Server) -> Router {
    server
        .max_concurrent_streams(1024)
        .tcp_nodelay(true)
        .add_service(RateLimitServiceServer::new(Empty))
}
