//! Spans of calls, for a collector that speaks OTLP over gRPC.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::decision::{self, Verdict};

/// How long the last spans may take to be sent once the server has stopped.
const LAST: Duration = Duration::from_secs(2);

/// Makes the spans of calls, and sends them from a thread of its own.
#[derive(Debug)]
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Tracer {
    /// Sends to a collector, within the runtime of the caller: as many calls as their caller traces, and of the
    /// others the share `ratio`, from 0 to 1.
    ///
    /// # Errors
    /// Where the address of the collector is none.
    pub fn start(endpoint: &str, ratio: f64) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(Resource::builder().with_service_name("tollgate").build())
            .build();
        let tracer = provider.tracer("tollgate");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// The span of a call with these headers, which may name the trace that it belongs to; none if it is not
    /// sampled.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Box<Span>> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let span = self.tracer.span_builder("ShouldRateLimit").with_kind(SpanKind::Server);
        let span = span
            .with_attributes([
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", "envoy.service.ratelimit.v3.RateLimitService"),
                KeyValue::new("rpc.method", "ShouldRateLimit"),
            ])
            .start_with_context(&self.tracer, &parent);
        span.is_recording().then(|| Box::new(Span(span)))
    }

    /// Sends what has not been sent. Blocks a moment at most; the runtime has to go on meanwhile.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The span of a call, which ends when it is dropped.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// Notes a verdict on so many descriptors in a domain.
    pub fn note(&mut self, domain: &str, verdict: &Verdict<'_>, descriptors: usize) {
        let code = if verdict.is_admitted { "OK" } else { "OVER_LIMIT" };
        self.0.set_attribute(KeyValue::new("tollgate.domain", domain.to_owned()));
        self.0.set_attribute(KeyValue::new("tollgate.code", code));
        let of_each: Vec<_> = verdict.tightest_of_each(descriptors).collect();
        if let Some(decided) = decision::tightest(&of_each) {
            let row = decided.met.row;
            self.0.set_attribute(KeyValue::new("tollgate.table", row.table().to_owned()));
            self.0.set_attribute(KeyValue::new("tollgate.row", row.name().to_owned()));
        }
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
