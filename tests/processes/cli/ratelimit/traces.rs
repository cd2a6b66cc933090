//! Spans of calls by OTLP over HTTP, which is what envoyproxy/ratelimit sends unless another protocol is set.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::*;
use crate::certificates::{Authority, Pair};
use crate::cli::traces::{Headers, asked, send};
use crate::collector::{Posted, Sent, http_collector};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Starts it with these variables, makes a call with each of these headers, and stops it.
fn call(variables: &[(&str, &str)], calls: &[Headers]) {
    let folder = Folder::new(LIMITS);
    let enabled = [("TRACING_ENABLED", "true")];
    let started = Started::new(&folder, &[&enabled, variables].concat());
    let calls: Vec<_> = calls.iter().map(|headers| (asked("d"), headers.clone())).collect();
    send(started.address("grpc"), &calls);
    // What has not been sent by then is sent now.
    assert_eq!(started.stop(), Some(0));
}

fn received(posted: &Receiver<Posted>) -> Vec<Posted> {
    posted.try_iter().collect()
}

/// The caller that a span joins, by its trace and its span.
fn joined(sent: &Sent) -> (String, String) {
    (sent.trace(), sent.parent())
}

#[test]
fn spans_are_posted_to_the_collector_with_the_headers_that_it_wants() {
    let (collector, posted) = http_collector(None);
    let endpoint = format!("http://{collector}/base");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20word"),
        ("TRACING_SERVICE_NAME", "edge"),
    ];
    call(&variables, &[vec![], vec![]]);
    let posted = received(&posted);
    assert!(!posted.is_empty());
    for Posted { head, .. } in &posted {
        assert!(head.starts_with("post /base/v1/traces http/1.1\r\n"), "{head}");
        for field in ["content-type: application/x-protobuf", "x-token: a word"] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
        }
    }
    let spans: Vec<_> = posted.iter().flat_map(|posted| &posted.spans).collect();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for sent in spans {
        assert_eq!(sent.service, "edge");
        assert_eq!(sent.span.name, "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
        // A UUID of version 4.
        let parts: Vec<_> = sent.instance.split('-').map(str::len).collect();
        assert_eq!((parts, sent.instance.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'), "{sent:?}");
    }
}

#[test]
fn a_call_joins_the_trace_of_its_context_in_w3c_or_in_b3() {
    let (collector, posted) = http_collector(None);
    let endpoint = format!("http://{collector}/traces");
    let variables =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*endpoint), ("TRACING_SAMPLING_RATE", "0")];
    let w3c = |flags: &str| vec![("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))];
    let b3 = |rest: &str| vec![("b3", format!("{TRACE}-{CALLER}-{rest}"))];
    let several = |sampled: &str| {
        let trace = ("x-b3-traceid", TRACE[16..].to_owned());
        vec![trace, ("x-b3-spanid", CALLER.into()), ("x-b3-sampled", sampled.into())]
    };
    let sampled = [w3c("01"), b3("1"), several("1")];
    let others = [vec![], w3c("00"), b3("0"), several("0"), vec![("b3", "1".to_owned())]];
    call(&variables, &[&sampled[..], &others].concat());
    let posted = received(&posted);
    let heads: Vec<_> = posted.iter().map(|posted| &*posted.head).collect();
    assert!(heads.iter().all(|head| head.starts_with("post /traces ")), "{heads:?}");
    let spans = posted.iter().flat_map(|posted| &posted.spans);
    let found: Vec<_> = spans.map(joined).collect();
    let short = format!("{}{}", "0".repeat(16), &TRACE[16..]);
    let expected = [TRACE, TRACE, &short].map(|trace| (trace.to_owned(), CALLER.to_owned()));
    assert_eq!(found, expected);
}

/// A server for `localhost` that demands a certificate of an authority.
fn server(authority: &Authority) -> ServerConfig {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let Pair { certificate, key } = authority.issue(&["localhost"]);
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.pem())).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![der(&certificate)],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}

#[test]
fn a_collector_over_tls_is_verified_and_shown_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, other_ca) = (write("ca.pem", authority.pem()), write("other.pem", other.pem()));
    let (certificate, key) = authority.issue(&["ratelimit"]).write(folder.path(), "client");
    let shown = [
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.to_str().unwrap()),
    ];
    let (collector, posted) = http_collector(Some(server(&authority)));
    let endpoint = format!("https://localhost:{}", collector.port());
    for (ca, shown, count) in [(&ca, &shown[..], 1), (&other_ca, &shown, 0), (&ca, &[], 0)] {
        let variables =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca)];
        call(&[&variables, shown].concat(), &[vec![]]);
        let spans: usize = received(&posted).iter().map(|posted| posted.spans.len()).sum();
        assert_eq!(spans, count, "{ca} {shown:?}");
    }
}

#[test]
fn a_collector_that_cannot_be_reached_so_is_told_at_the_start() {
    let folder = Folder::new(LIMITS);
    for (name, value, told) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318/v1/traces: write http://HOST:PORT, or",
        ),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "no.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE=no.pem: No"),
        ("TRACING_EXPORTER_PROTOCOL", "udp", "TRACING_EXPORTER_PROTOCOL=udp: unknown; choose"),
    ] {
        let ended = refused(&folder, &[("TRACING_ENABLED", "true"), (name, value)]);
        assert!(ended.err.contains(told), "{ended:?}");
    }
}
