//! The least a gRPC server costs: tonic's service for the same protos, which answers every call OK with one
//! status and looks at nothing. `benches/serve.sh` measures tollgate against it.
//!
//! ```text
//! baseline ADDRESS [CERTIFICATE KEY]
//! ```
//!
//! It runs on one single-threaded runtime; with a certificate and its key, in PEM, over TLS.

use std::net::SocketAddr;

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit, rate_limit::Unit,
};
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use tollgate::wire::{RateLimitRequest, RateLimitResponse};
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// The same allocator as tollgate's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, tls) = match &arguments[..] {
        [address] => (address, None),
        [address, certificate, key] => (address, Some((certificate, key))),
        _ => return Err("baseline ADDRESS [CERTIFICATE KEY]".into()),
    };
    let address: SocketAddr = address.parse()?;
    let mut server = tonic::transport::Server::builder();
    if let Some((certificate, key)) = tls {
        let identity = Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(
        server
            .max_concurrent_streams(1024)
            .tcp_nodelay(true)
            .add_service(RateLimitServiceServer::new(Empty))
            .serve(address),
    )?;
    Ok(())
}
