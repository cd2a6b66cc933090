//! What there is in place of spans in a build without the feature `otlp`: types without a value.

use http::HeaderMap;

use super::Collector;
use crate::decision::Verdict;

/// Makes the spans of calls; in this build there is none.
#[derive(Debug)]
pub enum Tracer {}

/// The span of a call; in this build there is none.
#[derive(Debug)]
pub enum Span {}

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// The feature is off.
    #[error("this tollgate cannot send spans: build it with the Cargo feature `otlp`")]
    Absent,
}

impl Tracer {
    /// Fails.
    ///
    /// # Errors
    /// Always, since the build is without the feature `otlp`.
    pub fn start(_: Collector, _: f64) -> Result<Self, TracerError> {
        Err(TracerError::Absent)
    }

    /// The span of a call.
    pub const fn begin(&self, _: &HeaderMap) -> Option<Box<Span>> {
        match *self {}
    }

    /// Sends what has not been sent.
    pub const fn stop(&self) {
        match *self {}
    }
}

impl Span {
    /// Notes the domain that is asked about.
    pub const fn record_domain(&mut self, _: &str) {
        match *self {}
    }

    /// Notes a verdict.
    pub const fn record(&mut self, _: &Verdict<'_>, _: usize) {
        match *self {}
    }

    /// Notes how the call ends.
    pub const fn record_end(&mut self, _: Option<&tonic::Status>) {
        match *self {}
    }
}
