//! The services besides rate limiting, which tonic serves: health, reflection and quotas.

use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::rlqs::QuotaService;
use crate::wire;

/// The most bytes of one request to these services. Theirs have a name or two.
const MAX_MESSAGE: usize = 64 << 10;

/// Full name of the health service.
const HEALTH: &str = "grpc.health.v1.Health";

/// Full names of the reflection service: the current one, and that of older clients.
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// The health service, both versions of reflection, and the quota service if it is served.
///
/// # Errors
/// If the descriptors in the binary are invalid.
pub(crate) fn routes(
    health: HealthServer<impl Health>,
    quotas: Option<QuotaService>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = |name| {
        let of_quotas = quotas.is_some().then_some(wire::quota::SERVICE);
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Lists the services that are served, and no other of the descriptors.
            .with_service_name(wire::SERVICE)
            .with_service_name(HEALTH)
            .with_service_name(name);
        of_quotas.into_iter().fold(builder, tonic_reflection::server::Builder::with_service_name)
    };
    let routes = Routes::new(health.max_decoding_message_size(MAX_MESSAGE))
        .add_service(reflection(REFLECTION).build_v1()?.max_decoding_message_size(MAX_MESSAGE))
        .add_service(
            reflection(REFLECTION_ALPHA).build_v1alpha()?.max_decoding_message_size(MAX_MESSAGE),
        );
    Ok(match quotas {
        Some(quotas) => routes.add_service(quotas.server()),
        None => routes,
    })
}
