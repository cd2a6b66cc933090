//! What a server is started with, and how it fails.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::admin::Controls;
use crate::listener::Address;
use crate::observe::statistics::Statistics;
use crate::reference::{BindError, HealthRules, Ports};
use crate::rlqs;
use crate::tls::Identity;

/// Addresses, certificates, bounds and timeouts of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listen address of gRPC.
    pub grpc: Address,
    /// Listen address of HTTP; not served if `None`.
    pub http: Option<Address>,
    /// What is served of envoyproxy/ratelimit besides.
    pub reference: Option<Reference>,
    /// Certificate of gRPC; plain text if `None`.
    pub grpc_tls: Option<Identity>,
    /// Certificate of HTTP; plain text if `None`.
    pub http_tls: Option<Identity>,
    /// Number of threads that serve gRPC.
    pub workers: NonZeroUsize,
    /// Maximum number of open gRPC connections; those beyond it are closed as soon as they are accepted.
    pub max_connections: usize,
    /// Age, plus or minus a fifth, at which a gRPC connection takes no more calls and is closed once those in flight
    /// are answered; unlimited if `None`.
    pub max_connection_age: Option<Duration>,
    /// How long the server reports not ready before it drains, and still accepts calls and connections: as long as
    /// load balancers take to notice.
    pub drain_delay: Duration,
    /// How long calls in flight may take to finish after the drain delay.
    pub drain: Duration,
    /// How quotas are assigned to Envoys; the quota service is not served if `None`.
    pub quotas: Option<rlqs::Settings>,
    /// Whether the server reports ready before the first policies have come from a control plane. Calls fail until then.
    pub is_ready_without_policies: bool,
    /// What may be changed over HTTP, and by whom.
    pub controls: Controls,
}

/// What is served of envoyproxy/ratelimit, for deployments that are made for it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The addresses of its HTTP side.
    pub ports: Ports,
    /// When it reports healthy.
    pub health: HealthRules,
    /// The statistics that it expects.
    pub statistics: Statistics,
}

impl Default for Options {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).into();
        Self {
            grpc: local(8081),
            http: Some(local(8080)),
            reference: None,
            grpc_tls: None,
            http_tls: None,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_connections: 10_000,
            max_connection_age: Some(Duration::from_secs(300)),
            drain_delay: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            quotas: Some(rlqs::Settings::default()),
            is_ready_without_policies: false,
            controls: Controls::default(),
        }
    }
}

/// Why a server cannot start, or stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be bound.
    #[error(
        "cannot listen on {address} for {what}: {error}; choose another with {setting}{}",
        form(setting, address)
    )]
    Bind {
        /// `grpc`, `http` or the like.
        what: &'static str,
        /// The flag or the variables that choose another.
        setting: &'static str,
        /// The address.
        address: Address,
        /// The system's error.
        error: std::io::Error,
    },
    /// The system refuses a thread or a runtime.
    #[error("cannot start a thread to serve gRPC or HTTP: {0}")]
    Thread(#[from] std::io::Error),
    /// The descriptors in the binary are invalid.
    #[error("cannot offer reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A part of the server stopped by itself.
    #[error("{0} stopped unexpectedly; exiting, since a server without it would look healthy")]
    Stopped(&'static str),
}

impl From<BindError> for ServerError {
    fn from(error: BindError) -> Self {
        let BindError { what, variables: setting, address, error } = error;
        Self::Bind { what, setting, address, error }
    }
}

/// How the value of a flag is written. Variables have other forms.
fn form(setting: &str, address: &Address) -> String {
    if setting.starts_with("--") { format!(" {}", address.form()) } else { String::new() }
}
