//! gRPC over mutual TLS: whose certificates let in.

use tollgate::tls::Side;

use super::certificates::{Authority, Pair, client, exchange};
use super::support::TestServer;
use super::{Ours, is_answered};

const ENVOY: &str = "envoy.example.org";
const SPIFFE: &str = "spiffe://example.org/ns/edge/sa/envoy";

/// What the server says to who shows this at the handshake.
fn refusal(server: &TestServer, ours: &Ours, shown: Option<&Pair>) -> String {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let config = client(&ours.authority, shown, b"h2");
    exchange(server.grpc, config, preface).unwrap_err().to_string()
}

#[test]
fn who_has_no_certificate_that_is_vouched_for_is_refused_and_told_why() {
    let callers = Authority::new();
    let ours = Ours::new().letting_in(&callers, &[]);
    let server = ours.serve(Side::Grpc);
    let stranger = Authority::new().issue(&[ENVOY]);
    let expired = callers.issue_expired(&[ENVOY]);
    for (shown, told) in [
        (None, "CertificateRequired"),
        (Some(&stranger), "UnknownCA"),
        (Some(&expired), "CertificateExpired"),
    ] {
        let refusal = refusal(&server, &ours, shown);
        assert!(refusal.contains(told), "{told}: {refusal}");
        assert!(!is_answered(&server, &ours.authority, shown), "{told}");
    }
    // Whatever it is called, and whoever was refused before it.
    assert!(is_answered(&server, &ours.authority, Some(&callers.issue(&[]))));
    assert!(is_answered(&server, &ours.authority, Some(&callers.issue(&[ENVOY]))));
}

#[test]
fn a_certificate_must_have_one_of_the_names_that_are_allowed() {
    let callers = Authority::new();
    let ours = Ours::new().letting_in(&callers, &["Envoy.example.org", SPIFFE]);
    let server = ours.serve(Side::Grpc);
    for names in [&[ENVOY][..], &[SPIFFE], &["other.example.org", "urn:other:1", ENVOY]] {
        let shown = callers.issue(names);
        assert!(is_answered(&server, &ours.authority, Some(&shown)), "{names:?}");
    }
    for names in [
        &[][..],
        &["example.org"],
        &["a.envoy.example.org"],
        &["*.example.org"],
        &["spiffe://example.org/ns/edge/sa"],
        &["spiffe://example.org/ns/edge/sa/envoy/"],
        &["spiffe://example.org/ns/edge/sa/Envoy"],
        // The text of a name of the other kind is another name.
        &["dns:envoy.example.org"],
    ] {
        let shown = callers.issue(names);
        let refusal = refusal(&server, &ours, Some(&shown));
        assert!(refusal.contains("AccessDenied"), "{names:?}: {refusal}");
        assert!(!is_answered(&server, &ours.authority, Some(&shown)), "{names:?}");
    }
}
