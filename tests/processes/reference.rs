//! tollgate beside the rate-limit service that it stands in for, envoyproxy/ratelimit: the real one, of the version
//! that `tests/reference/go.mod` pins, each with a real Redis. The same configuration and environment, the same
//! requests, and the same answers but for [`Difference`].
//!
//! The reference is `TOLLGATE_RATELIMIT`, or the one that `tests/setup.sh` builds into `target/tools`; with it comes
//! `TOLLGATE_RATELIMIT_CONFIG_CHECK`. The pinned version is the newest that is published as a Go module. Later ones
//! have more ([`sides::Version::Later`]), which is compared when the variables name one of these, and is held to what
//! it should be in any case.

mod answers;
mod brought;
mod compare;
mod counting;
mod differences;
mod environment;
mod generated;
mod generator;
mod http;
mod matching;
mod metrics;
mod overall;
mod refusals;
mod reloads;
mod replaces;
mod script;
mod sides;
mod sound;
mod statsd;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod windows;
mod yaml;

use super::certificates;
use super::envoy::process;
use super::redis_server;
use super::support;

/// What tollgate answers otherwise, on purpose. Nothing else may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A call that fails since the request is wrong says INVALID_ARGUMENT; the reference says UNKNOWN, as for its own
    /// failures, and ends where a `limit` has a unit that is none. Envoy treats the codes alike.
    BadRequest,
    /// Hits that a descriptor gives back are given back; the reference does not know the field and charges them.
    NegativeHits,
    /// Key and value are two things; the reference joins them by `_`, so that one client can meet the limit and the
    /// count of another.
    JoinedNames,
    /// Counts that 63 bits do not hold are held at their most, and deny; the reference fails the call, which lets
    /// the request pass.
    LargeCounts,
    /// Limits of two units have two counts; the key of the reference has the begin of a window and not its unit, so
    /// that a minute and the hour, or an hour and the day, that begin together are one count.
    OneBegin,
    /// The metadata of a limit is that of the file, and told whatever its metrics are; the reference writes what it
    /// merges for one request into the configuration, and loses it where `detailed_metric` is set.
    Metadata,
}
