//! Spans, sent by the OpenTelemetry SDK.

mod b3;
mod http;

use std::time::Duration;

use ::http::{HeaderMap, HeaderName};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{Collector, Origin, Protocol};
use crate::decision::{self, Verdict};
use crate::text::sanitize;
use crate::wire;

/// How long sending the remaining spans may take after the server has stopped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The only method that is traced.
const METHOD: &str = "ShouldRateLimit";

/// Name of the spans: the service's and the method's.
const NAME: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Creates the spans of calls, and sends them from a thread of its own.
#[derive(Debug)]
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// The URL has another scheme than `http` and `https`.
    #[error("write http://HOST:PORT, or https://HOST:PORT for TLS")]
    Scheme,
    /// The certificates for TLS cannot be used.
    #[error("no TLS with these certificates: {0}")]
    Tls(String),
    /// The exporter cannot be built.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

impl Collector {
    /// An exporter to this collector, over TLS if its URL is `https`.
    fn exporter(self) -> Result<SpanExporter, TracerError> {
        let is_tls = match self.endpoint.split_once("://") {
            Some(("http", _)) => false,
            Some(("https", _)) => true,
            _ => return Err(TracerError::Scheme),
        };
        match self.protocol {
            Protocol::Grpc => self.grpc_exporter(is_tls),
            Protocol::Http => self.http_exporter(is_tls),
        }
    }

    fn grpc_exporter(self, is_tls: bool) -> Result<SpanExporter, TracerError> {
        // A protocol of the standard variables does not count: it is chosen already.
        let protocol = opentelemetry_otlp::Protocol::Grpc;
        let exporter = SpanExporter::builder().with_tonic().with_protocol(protocol);
        let exporter = exporter.with_endpoint(self.endpoint).with_timeout(self.timeout);
        if !is_tls {
            return Ok(exporter.build()?);
        }
        let tls = match self.root {
            Some(root) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let tls = match self.client {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        };
        Ok(exporter.with_tls_config(tls).build()?)
    }

    fn http_exporter(self, is_tls: bool) -> Result<SpanExporter, TracerError> {
        let client = http::client(&self, is_tls)?;
        let protocol = opentelemetry_otlp::Protocol::HttpBinary;
        let exporter = SpanExporter::builder().with_http().with_protocol(protocol);
        let exporter = exporter.with_endpoint(self.endpoint).with_timeout(self.timeout);
        Ok(exporter.with_http_client(client).build()?)
    }
}

fn resource(Origin { service, namespace, instance }: &Origin) -> Resource {
    let more = [("service.namespace", Some(namespace)), ("service.instance.id", instance.as_ref())];
    let more = more.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(KeyValue::new(name, value.clone()))
    });
    Resource::builder().with_service_name(service.clone()).with_attributes(more).build()
}

impl Tracer {
    /// Starts to send spans to a collector, in the runtime of the caller. Calls with a context, in a `traceparent` or in
    /// B3, follow its sampling flag; `ratio`, from 0 to 1, is the share of other calls that is sampled.
    ///
    /// # Errors
    /// If the URL is invalid, or the CA certificates are invalid or missing.
    pub fn start(collector: Collector, ratio: f64) -> Result<Self, TracerError> {
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(&collector.origin))
            .with_batch_exporter(collector.exporter()?)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .build();
        let tracer = provider.tracer("tollgate");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// The span of a call with these headers, whose context it joins; `None` if it is not sampled. Of two contexts that
    /// of B3 counts, as in envoyproxy/ratelimit. The names are those of OpenTelemetry's semantic conventions for RPC.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Box<Span>> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let parent = match b3::context(headers) {
            Some(context) => parent.with_remote_span_context(context),
            None => parent,
        };
        let span = self.tracer.span_builder(NAME).with_kind(SpanKind::Server);
        let span = span
            .with_attributes([
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", wire::SERVICE),
                KeyValue::new("rpc.method", METHOD),
            ])
            .start_with_context(&self.tracer, &parent);
        span.is_recording().then(|| Box::new(Span(span)))
    }

    /// Sends the remaining spans. Blocks for at most two seconds; the runtime must not be blocked, as it sends them.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(%error, "cannot send the remaining spans");
        }
    }
}

/// The span of a call. Dropping it ends the span.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// Records the domain of the request, unless it is empty. It is sanitized, as any client may send any domain.
    pub fn record_domain(&mut self, domain: &str) {
        if !domain.is_empty() {
            self.set("tollgate.domain", sanitize(domain));
        }
    }

    /// Records the verdict on a request with this many descriptors.
    pub fn record(&mut self, verdict: &Verdict<'_>, descriptors: usize) {
        let code = if verdict.is_admitted { "OK" } else { "OVER_LIMIT" };
        self.0.set_attribute(KeyValue::new("tollgate.code", code));
        let of_each: Vec<_> = verdict.tightest_of_each(descriptors).collect();
        if let Some(decided) = decision::tightest(&of_each) {
            let row = decided.matched.row;
            self.set("tollgate.table", sanitize(row.table()));
            self.set("tollgate.row", sanitize(row.name()));
        }
    }

    /// Records how the call ends: with an answer, or with an error, whose message is sanitized, as it may quote the
    /// client. By OpenTelemetry's conventions, a client error is not an error of a server span.
    pub fn record_end(&mut self, error: Option<&tonic::Status>) {
        let code = error.map_or(Code::Ok, tonic::Status::code);
        let number = i64::from(i32::from(code));
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", number));
        let Some(error) = error else { return };
        let reason = sanitize(error.message());
        if is_server_error(code) {
            self.0.set_status(Status::error(reason.to_string()));
        }
        self.set("tollgate.error", reason);
    }

    fn set(&mut self, name: &'static str, text: Box<str>) {
        self.0.set_attribute(KeyValue::new(name, String::from(text)));
    }
}

/// Whether a status is an error of the server.
const fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the attributes of a span that ends this way.
    fn ended(error: Option<&tonic::Status>) -> (Status, Vec<(String, String)>) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let mut span = Span(tracer.start_with_context("call", &Context::new()));
        span.record_end(error);
        let data = span.0.exported_data().unwrap();
        let attributes =
            data.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string()));
        (data.status, attributes.collect())
    }

    #[test]
    fn a_span_has_the_name_of_the_call() {
        assert_eq!(NAME, format!("{}/{METHOD}", wire::SERVICE));
    }

    #[test]
    fn a_failed_call_has_a_reason_and_only_a_server_error_sets_the_status() {
        let code = |code: &str| ("rpc.grpc.status_code".to_owned(), code.to_owned());
        assert_eq!(ended(None), (Status::Unset, vec![code("0")]));
        let reason = |reason: &str| ("tollgate.error".to_owned(), reason.to_owned());
        let rejected = tonic::Status::invalid_argument("no\nquestion");
        let attributes = vec![code("3"), reason("no\\nquestion")];
        assert_eq!(ended(Some(&rejected)), (Status::Unset, attributes));
        let failed = tonic::Status::unavailable("no bits");
        let attributes = vec![code("14"), reason("no bits")];
        assert_eq!(ended(Some(&failed)), (Status::error("no bits"), attributes));
    }
}
