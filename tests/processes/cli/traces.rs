//! `--otlp-endpoint`: the span of a call, at a collector.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tollgate::wire::{RateLimitRequest, RateLimitServiceClient};
use tonic::Request;
use tonic::transport::Identity;

use super::collector::{Sent, collector};
use super::run;
use super::serve::{QUIET, Served};
use crate::support::{descriptor, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Headers of a call.
pub(super) type Headers = Vec<(&'static str, String)>;

pub(super) fn asked(domain: &str) -> RateLimitRequest {
    request(domain, &[descriptor(&[("tenant_type", "free"), ("tenant", "acme")])])
}

/// Calls a server, each call with these headers.
pub(super) fn send(server: SocketAddr, calls: &[(RateLimitRequest, Headers)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = RateLimitServiceClient::connect(format!("http://{server}")).await.unwrap();
        for (request, headers) in calls {
            let mut request = Request::new(request.clone());
            for (name, value) in headers {
                request.metadata_mut().insert(*name, value.parse().unwrap());
            }
            // Some are refused.
            let _ = client.should_rate_limit(request).await;
        }
    });
}

/// Calls a server with these flags, each call with that `traceparent`, and stops it.
fn call(flags: &[&str], calls: &[(RateLimitRequest, Option<String>)]) {
    let server = Served::start(&[&QUIET[..], flags].concat(), &[]);
    let with = |(request, traceparent): &(RateLimitRequest, Option<String>)| {
        let headers = traceparent.iter().map(|value| ("traceparent", value.clone()));
        (request.clone(), headers.collect())
    };
    send(server.grpc, &calls.iter().map(with).collect::<Vec<_>>());
    // What has not been sent by then is sent now.
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log:?}");
}

fn received(spans: &Receiver<Sent>) -> Vec<Sent> {
    std::iter::from_fn(|| spans.recv_timeout(Duration::ZERO).ok()).collect()
}

/// The spans of calls, each with that `traceparent`.
fn traced(ratio: &str, calls: &[(RateLimitRequest, Option<String>)]) -> Vec<Sent> {
    let (collector, spans) = collector(None);
    let endpoint = format!("http://{collector}");
    call(&["--otlp-endpoint", &endpoint, "--trace-sample", ratio], calls);
    received(&spans)
}

fn traceparent(flags: &str) -> Option<String> {
    Some(format!("00-{TRACE}-{CALLER}-{flags}"))
}

/// A call with this `traceparent`.
fn known(traceparent: Option<String>) -> (RateLimitRequest, Option<String>) {
    (asked("management-api"), traceparent)
}

#[test]
fn a_call_within_a_trace_has_a_span_in_it() {
    let calls = [known(traceparent("01")), known(traceparent("00")), known(None)];
    let spans = traced("0", &calls);
    let [sent] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*sent.trace(), &*sent.parent()), (TRACE, CALLER));
    let span = &sent.span;
    // SPAN_KIND_SERVER.
    let name = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    assert_eq!((&*sent.service, &*span.name, span.kind), ("tollgate", name, 2));
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let told = sent.attributes();
    for (name, value) in [
        ("tollgate.domain", "management-api"),
        ("tollgate.code", "OK"),
        ("tollgate.table", "tenant"),
        ("tollgate.row", "free"),
        ("rpc.system", "grpc"),
        ("rpc.service", "envoy.service.ratelimit.v3.RateLimitService"),
        ("rpc.method", "ShouldRateLimit"),
        ("rpc.grpc.status_code", "0"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}: {told:?}");
    }
}

#[test]
fn of_the_other_calls_a_share_is_traced() {
    let calls = [known(None), known(traceparent("00")), known(Some("no trace".to_owned()))];
    let spans = traced("1", &calls);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for sent in spans {
        assert!(sent.span.parent_span_id.is_empty() && sent.trace() != TRACE, "{sent:?}");
    }
}

#[test]
fn a_call_that_meets_no_policy_or_is_refused_says_so() {
    let long = format!("\r\n\u{1b}[31m{}", "x".repeat(1000));
    let no_key = {
        let mut request = asked("management-api");
        request.descriptors[0].entries[0].key.clear();
        request
    };
    let nothing = RateLimitRequest { descriptors: Vec::new(), ..asked("management-api") };
    let calls = [asked(&long), no_key, nothing, RateLimitRequest::default()];
    let spans = traced("1", &calls.map(|request| (request, None)));
    let told: Vec<_> = spans.iter().map(Sent::attributes).collect();
    let shown = format!("\\r\\n\\u{{1b}}[31m{}…", "x".repeat(114));
    let of = |at: usize, name: &str| told[at].get(name).map(String::as_str);
    let seen: Vec<_> = (0..told.len())
        .map(|at| {
            let [domain, code] = ["tollgate.domain", "tollgate.code"].map(|name| of(at, name));
            (domain, code, of(at, "rpc.grpc.status_code"), of(at, "tollgate.error"))
        })
        .collect();
    let no_descriptors = "rate limit descriptor list must not be empty";
    let expected = [
        (Some(&*shown), Some("OK"), Some("0"), None),
        (
            Some("management-api"),
            None,
            Some("3"),
            Some("descriptor 0, entry 0: key must not be empty"),
        ),
        (Some("management-api"), None, Some("3"), Some(no_descriptors)),
        (None, None, Some("3"), Some("rate limit domain must not be empty")),
    ];
    assert_eq!(seen, expected);
}

/// A collector whose certificate vouches for itself, in a file of that name.
fn collector_over_tls(name: &std::path::Path) -> (SocketAddr, Receiver<Sent>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(name, made.cert.pem()).unwrap();
    collector(Some(Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem())))
}

#[test]
fn a_collector_over_tls_is_sent_spans_if_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
    let (collector, spans) = collector_over_tls(&trusted);
    collector_over_tls(&other);
    let endpoint = format!("https://localhost:{}", collector.port());
    for (root, expected) in [(trusted, 1), (other, 0)] {
        let flags = ["--otlp-endpoint", &endpoint, "--otlp-tls-ca", root.to_str().unwrap()];
        call(&flags, &[known(traceparent("01"))]);
        assert_eq!(received(&spans).len(), expected, "{}", root.display());
    }
}

#[test]
fn a_collector_that_cannot_be_reached_so_is_told_at_the_start() {
    for (flags, told) in [
        (
            &["--otlp-endpoint", "127.0.0.1:4317"][..],
            "--otlp-endpoint 127.0.0.1:4317: write http://HOST:PORT, or https://HOST:PORT for TLS",
        ),
        (
            &["--otlp-endpoint", "https://127.0.0.1:4317", "--otlp-tls-ca", "no/such.pem"],
            "--otlp-tls-ca no/such.pem: No such file or directory",
        ),
    ] {
        let ended = run(&[&QUIET[..], flags].concat());
        assert!(ended.code == Some(2) && ended.err.starts_with(told), "{ended:?}");
    }
}
