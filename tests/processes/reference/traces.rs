//! Spans by OTLP over HTTP, at a collector that all send theirs to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;

use tollgate::wire::RateLimitServiceClient;
use tonic::Request;

use super::process::PATIENCE;
use super::sides::{Deployment, Sides, Version, version};
use super::support::{descriptor, request};
use crate::collector::{Posted, Sent, http_collector};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The services with the collector at that variable, which only send what a call's context has sampled.
fn sides(collector: SocketAddr, variable: &'static str) -> Sides {
    let endpoint = format!("http://{collector}/base");
    let environment = [
        ("TRACING_ENABLED", "true"),
        ("TRACING_SAMPLING_RATE", "0"),
        ("TRACING_SERVICE_NAME", "edge"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20word"),
        (variable, &*endpoint),
    ];
    Sides::all(&Deployment::of(&[("a.yaml", "domain: d\n")], &environment))
}

/// Makes a call with these headers to each.
fn call(sides: &Sides, headers: &[(&'static str, String)]) {
    let said = sides.each(|channel| {
        let mut asked = Request::new(request("d", &[descriptor(&[("k", "v")])]));
        for (name, value) in headers {
            asked.metadata_mut().insert(*name, value.parse().unwrap());
        }
        async move { RateLimitServiceClient::new(channel).should_rate_limit(asked).await }
    });
    for (name, said) in said {
        assert!(said.is_ok(), "{name}: {said:?}");
    }
}

/// Whether a span is the one of a whole call.
fn is_call(sent: &Sent) -> bool {
    sent.span.name == "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
}

/// What is posted until the calls of so many instances have come, which joined this trace.
fn posted(by: &Receiver<Posted>, trace: &str, instances: usize) -> Vec<Posted> {
    let (mut all, mut told) = (Vec::new(), BTreeSet::new());
    while told.len() < instances {
        let next = by.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {all:#?}"));
        for sent in next.spans.iter().filter(|sent| is_call(sent)) {
            assert_eq!((&*sent.service, &*sent.trace()), ("edge", trace), "{sent:?}");
            // SPAN_KIND_SERVER.
            assert_eq!((&*sent.parent(), sent.span.kind), (CALLER, 2), "{sent:?}");
            told.insert(sent.instance.clone());
        }
        all.push(next);
    }
    all
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_call_has_a_span_in_the_trace_of_its_caller() {
    for (variable, path) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/base/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/base"),
    ] {
        let (collector, spans) = http_collector(None);
        let sides = sides(collector, variable);
        call(&sides, &[]);
        call(&sides, &[("traceparent", format!("00-{TRACE}-{CALLER}-00"))]);
        call(&sides, &[("traceparent", format!("00-{TRACE}-{CALLER}-01"))]);
        for Posted { head, .. } in posted(&spans, TRACE, 3) {
            assert!(head.starts_with(&format!("post {path} http/1.1\r\n")), "{head}");
            for field in ["content-type: application/x-protobuf", "x-token: a word"] {
                assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
            }
        }
    }
}

/// Which the pinned version does not read.
#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_context_may_be_in_b3() {
    let (collector, spans) = http_collector(None);
    let sides = sides(collector, "OTEL_EXPORTER_OTLP_ENDPOINT");
    let count = if version() == Version::Later { 3 } else { 2 };
    let single = |trace: &str, rest: &str| [("b3", format!("{trace}-{CALLER}{rest}"))];
    let short = &TRACE[16..];
    // Those that decide nothing, or decide against it, are not sampled.
    for rest in ["", "-0", "-2", "-1-1"] {
        call(&sides, &single(TRACE, rest));
    }
    call(&sides, &single(TRACE, "-d"));
    posted(&spans, TRACE, count);
    let several = [("x-b3-traceid", short.to_owned()), ("x-b3-spanid", CALLER.to_owned())];
    call(&sides, &several);
    call(&sides, &[&several[..], &[("x-b3-flags", "1".to_owned())]].concat());
    posted(&spans, &format!("{}{short}", "0".repeat(16)), count);
    // Of two contexts that of B3 counts.
    let other = "5".repeat(32);
    let both = [&single(&other, "-1")[..], &[("traceparent", format!("00-{TRACE}-{CALLER}-00"))]];
    call(&sides, &both.concat());
    posted(&spans, &other, count);
}
