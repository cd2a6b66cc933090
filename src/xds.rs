//! A source of policies: ratelimit configurations from a control plane, over xDS.
//!
//! A [`Subscription`] asks `envoy.service.discovery.v3.AggregatedDiscoveryService` for all resources of the type
//! `ratelimit.config.ratelimit.v3.RateLimitConfig`, as envoyproxy/ratelimit does with `CONFIG_TYPE=GRPC_XDS_SOTW`. Each
//! response has the whole set ("state of the world"): a domain that it lacks is removed, and an empty set is valid. What
//! is in force stays while the control plane is away or sends what cannot be used.
//!
//! # Acceptance and refusal
//!
//! A response without a problem is accepted (ACK) once it is in force. A response with problems is refused (NACK) with all
//! of them. Its good domains come into force all the same, and each bad one stays as it was: an author's mistake in one
//! domain holds back no other. The protocol allows that: Envoy and gRPC apply the valid resources of a response that
//! they refuse, too (gRFC A46). envoyproxy/ratelimit refuses all or nothing. A resource of which the domain is not
//! known may be that of any domain; while there is one, no domain is removed.
//!
//! Most control planes answer a refusal at once with what was refused. It is not compiled again, and the refusal is
//! repeated after pauses that grow from a second to a minute. Such a control plane sends a correction only after the
//! pause. Other content is compiled and answered at once.
//!
//! A new stream begins without a version, so that the control plane sends the set whatever it knows of earlier streams.
//!
//! # Files
//!
//! `client` has the connection and the stream. What it answers and when is decided by `exchange`, what comes into
//! force by `resource_set`; both are without I/O.

mod backoff;
mod client;
mod connection;
mod digest;
mod exchange;
mod resource;
mod resource_set;
mod settings;
mod tls;

pub use self::backoff::Backoff;
pub use self::client::{Compile, Subscription};
pub use self::settings::{Server, Settings, Tls};

/// The code that prost and tonic generate from `proto/`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    dead_code
)]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/xds/proto.rs"));
}
