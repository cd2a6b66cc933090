//! The samples of `envoy/` under the real Envoy: its binary, ours, and an HTTP client, all on 127.0.0.1.
//!
//! Envoy is `TOLLGATE_ENVOY`, or the one that `tests/setup.sh` puts into `target/tools`. Each
//! test has an Envoy and a tollgate of its own, so that none spends another's budget.
//!
//! Time is real here: what must be exact is asked of buckets that gain a token in hours, and buckets of
//! a second are emptied in a burst and only then looked at.

mod brought;
mod compose;
mod front;
mod hostile;
pub(crate) mod http;
mod istio;
pub(crate) mod lab;
mod leases;
mod mtls;
mod outage;
pub(crate) mod process;
mod quota;
mod quota_replicas;
mod replayed;
mod rolling;
mod routes;
mod samples;
mod shadow;
mod tokens;
#[cfg(feature = "otlp")]
mod traces;
mod usage;

#[cfg(feature = "otlp")]
use super::collector;
use super::{certificates, frames, redis_server, support};
