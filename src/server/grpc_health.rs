//! What the health service of gRPC tells.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::wire;

/// The names under which clients ask for the health. `ratelimit` is that of envoyproxy/ratelimit.
const NAMES: [&str; 4] = ["", "ratelimit", wire::SERVICE, wire::quota::SERVICE];

/// That of envoyproxy/ratelimit, which knows no other. Under the empty name it serves as long as it runs.
const NAMES_OF_REFERENCE: [&str; 1] = ["ratelimit"];

/// Reports the health to checks and watches.
#[derive(Clone)]
pub(super) struct GrpcHealth {
    reporter: HealthReporter,
    names: &'static [&'static str],
}

impl GrpcHealth {
    /// The health of a server that is not serving, and its service. A server in place of envoyproxy/ratelimit tells what
    /// that does.
    pub(super) async fn new(is_reference: bool) -> (Self, HealthServer<impl Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let names = if is_reference { &NAMES_OF_REFERENCE[..] } else { &NAMES };
        if is_reference {
            reporter.set_service_status("", ServingStatus::Serving).await;
        }
        let health = Self { reporter, names };
        health.report(false).await;
        (health, service)
    }

    /// Reports whether the server is serving.
    pub(super) async fn report(&self, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names {
            self.reporter.set_service_status(*name, status).await;
        }
    }

    /// Ends the watches, which would otherwise keep the drain waiting.
    pub(super) async fn close(&mut self) {
        self.report(false).await;
        for name in &NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }
}
