//! `--otlp-endpoint`: the span of a call, at a collector.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tollgate::wire::{RateLimitRequest, RateLimitServiceClient};
use tonic::{Request, Response, Status};

use super::serve::{QUIET, Served};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector that keeps what it is sent. It stands for whichever is used.
struct Collector(Sender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans);
        for span in spans.flat_map(|scope| scope.spans) {
            self.0.send(span).unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Serves on a free port until the test's process ends.
fn collector() -> (SocketAddr, Receiver<Span>) {
    let (sender, spans) = channel();
    let (bound, address) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming =
                tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap())
                    .unwrap();
            bound.send(incoming.local_addr().unwrap()).unwrap();
            let service = TraceServiceServer::new(Collector(sender));
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    (address.recv().unwrap(), spans)
}

/// The spans of calls, each with that `traceparent`.
fn traced(ratio: &str, traceparents: &[Option<String>]) -> Vec<Span> {
    let (collector, spans) = collector();
    let endpoint = format!("http://{collector}");
    let more = ["--otlp-endpoint", &endpoint, "--trace-sample", ratio];
    let server = Served::start(&[&QUIET[..], &more].concat(), &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("http://{}", server.grpc);
        let mut client = RateLimitServiceClient::connect(url).await.unwrap();
        for traceparent in traceparents {
            let entry = |(key, value): (&str, &str)| Entry { key: key.into(), value: value.into() };
            let entries = [("tenant_type", "free"), ("tenant", "acme")].map(entry).to_vec();
            let descriptor = RateLimitDescriptor { entries, ..Default::default() };
            let mut request = Request::new(RateLimitRequest {
                domain: "management-api".into(),
                descriptors: vec![descriptor],
                hits_addend: 0,
            });
            if let Some(traceparent) = traceparent {
                request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
            }
            client.should_rate_limit(request).await.unwrap();
        }
    });
    // What has not been sent by then is sent now.
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let mut found = Vec::new();
    while let Ok(span) = spans.recv_timeout(Duration::ZERO) {
        found.push(span);
    }
    found
}

fn traceparent(flags: &str) -> Option<String> {
    Some(format!("00-{TRACE}-{CALLER}-{flags}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_call_within_a_trace_has_a_span_in_it() {
    let spans = traced("0", &[traceparent("01"), traceparent("00"), None]);
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*hex(&span.trace_id), &*hex(&span.parent_span_id)), (TRACE, CALLER));
    // SPAN_KIND_SERVER.
    assert_eq!((&*span.name, span.kind), ("ShouldRateLimit", 2));
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let attribute = |name: &str| {
        let mut attributes = span.attributes.iter();
        let value = attributes.find(|attribute| attribute.key == name)?.value.clone()?.value?;
        let Value::StringValue(text) = value else { panic!("{value:?}") };
        Some(text)
    };
    for (name, value) in [
        ("tollgate.domain", "management-api"),
        ("tollgate.code", "OK"),
        ("tollgate.table", "tenant"),
        ("tollgate.row", "free"),
        ("rpc.method", "ShouldRateLimit"),
    ] {
        assert_eq!(attribute(name).as_deref(), Some(value), "{span:?}");
    }
}

#[test]
fn of_the_other_calls_a_share_is_traced() {
    let spans = traced("1", &[None, traceparent("00"), Some("no trace".to_owned())]);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in spans {
        assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != TRACE, "{span:?}");
    }
}
