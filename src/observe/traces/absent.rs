//! Spans in a build without the feature `otlp`: types without a value.

use http::HeaderMap;

use super::Collector;
use crate::decision::Verdict;

/// Creates the spans of calls; has no value in this build.
#[derive(Debug)]
pub enum Tracer {}

/// The span of a call; has no value in this build.
#[derive(Debug)]
pub enum Span {}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// The feature is off.
    #[error("this build cannot send spans; build tollgate with the Cargo feature `otlp`")]
    Absent,
}

impl Tracer {
    /// Fails in this build.
    ///
    /// # Errors
    /// [`TracerError::Absent`], always.
    pub fn start(_: Collector, _: f64) -> Result<Self, TracerError> {
        Err(TracerError::Absent)
    }

    /// The span of a call.
    pub const fn begin(&self, _: &HeaderMap) -> Option<Box<Span>> {
        match *self {}
    }

    /// Sends the remaining spans.
    pub const fn stop(&self) {
        match *self {}
    }
}

impl Span {
    /// Records the domain of the request.
    pub const fn record_domain(&mut self, _: &str) {
        match *self {}
    }

    /// Records a verdict.
    pub const fn record(&mut self, _: &Verdict<'_>, _: usize) {
        match *self {}
    }

    /// Records how the call ends.
    pub const fn record_end(&mut self, _: Option<&tonic::Status>) {
        match *self {}
    }
}
