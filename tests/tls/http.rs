//! HTTP over TLS.

use std::net::TcpStream;

use tollgate::tls::Side;

use super::certificates::{Authority, client, exchange, get};
use super::{Ours, assert_refuses_plain_text};

fn assert_is_healthy(told: std::io::Result<String>) {
    let told = told.unwrap();
    assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("\r\n\r\nok\n"), "{told}");
}

#[test]
fn http_is_served_over_tls_and_plain_text_is_refused() {
    let ours = Ours::new();
    let server = ours.serve(Side::Http);
    assert_is_healthy(get(server.http, &ours.authority, None, "/healthz"));
    assert_refuses_plain_text(server.http, b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n");
    get(server.http, &Authority::new(), None, "/healthz").expect_err("another's certificate");
    let http2 = client(&ours.authority, None, b"h2");
    exchange(server.http, http2, b"PRI * HTTP/2.0\r\n\r\n").expect_err("it speaks HTTP/1.1");
    assert_is_healthy(get(server.http, &ours.authority, None, "/healthz"));
}

#[test]
fn who_has_no_certificate_is_answered_and_who_has_a_strangers_is_not() {
    let callers = Authority::new();
    let ours = Ours::new().letting_in(&callers, &["admin.example.org"]);
    let server = ours.serve(Side::Http);
    let [admin, other] =
        ["admin.example.org", "other.example.org"].map(|name| callers.issue(&[name]));
    let ask = |shown| get(server.http, &ours.authority, shown, "/healthz");
    for shown in [None, Some(&admin), Some(&other)] {
        assert_is_healthy(ask(shown));
    }
    let stranger = Authority::new().issue(&["admin.example.org"]);
    let refusal = ask(Some(&stranger)).unwrap_err().to_string();
    assert!(refusal.contains("UnknownCA"), "{refusal}");
    let expired = callers.issue_expired(&["admin.example.org"]);
    let refusal = ask(Some(&expired)).unwrap_err().to_string();
    assert!(refusal.contains("CertificateExpired"), "{refusal}");
}

#[test]
fn who_is_slow_to_speak_tls_keeps_nobody_waiting() {
    let ours = Ours::new();
    let server = ours.serve(Side::Http);
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    assert_is_healthy(get(server.http, &ours.authority, None, "/healthz"));
    // Nor does the end wait for them.
    drop(server);
    drop(silent);
}
