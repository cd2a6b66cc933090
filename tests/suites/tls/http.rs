//! HTTP over TLS.

use std::net::TcpStream;

use tollgate::tls::Side;

use super::certificates::{Authority, Pair, client, exchange, get};
use super::support::TestServer;
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
    assert_refuses_plain_text(server.http, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
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

/// A request of one who shows this: what it is answered.
fn ask(server: &TestServer, ours: &Ours, shown: Option<&Pair>, head: &str, body: &str) -> String {
    let length = body.len();
    let said = format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let config = client(&ours.authority, shown, b"http/1.1");
    exchange(server.http, config, said.as_bytes()).unwrap()
}

#[test]
fn a_name_of_the_certificate_is_a_name_of_the_server() {
    let mut ours = Ours::new();
    let names = ["localhost", "tollgate.example.org", "*.edge.example.org"];
    let (certificate, key) = ours.authority.issue(&names).write(ours.folder.path(), "named");
    (ours.files.certificate, ours.files.key) = (certificate, key);
    let server = ours.serve(Side::Http);
    for (host, status) in [
        ("tollgate.example.org", "200"),
        ("TOLLGATE.example.org:8080", "200"),
        ("a.edge.example.org", "200"),
        ("127.0.0.1", "200"),
        ("a.b.edge.example.org", "421"),
        ("edge.example.org", "421"),
        ("evil.example", "421"),
    ] {
        let answer =
            ask(&server, &ours, None, &format!("GET /config HTTP/1.1\r\nhost: {host}"), "");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{host}: {answer}");
    }
}

/// Job slots are taken where they are given out, and nowhere around it.
#[test]
fn a_call_in_json_is_decided_for_who_has_a_certificate_and_for_no_page_with_it() {
    let callers = Authority::new();
    let ours = Ours::new().letting_in(&callers, &["admin.example.org"]);
    let server = ours.serve(Side::Http);
    let [admin, other] =
        ["admin.example.org", "other.example.org"].map(|name| callers.issue(&[name]));
    let entries = [
        ("tenant_type", "enterprise_production"),
        ("tenant", "victim"),
        ("endpoint_group", "create_import_users_job"),
    ];
    let entries = entries.map(|(key, value)| format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    let entries = entries.join(",");
    let body =
        format!(r#"{{"domain":"management-api","descriptors":[{{"entries":[{entries}]}}]}}"#);
    let head = "POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let status = |shown, more: &str| {
        let answer = ask(&server, &ours, shown, &format!("{head}{more}"), &body);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for shown in [None, Some(&other)] {
        assert_eq!(status(shown, ""), "403");
    }
    for page in
        ["origin: https://evil.example", "origin: https://localhost", "sec-fetch-site: none"]
    {
        assert_eq!(status(Some(&admin), &format!("\r\n{page}")), "403", "{page}");
    }
    assert_eq!(server.parts.store.lease_count(), 0);
    let both = [(); 3].map(|()| status(Some(&admin), ""));
    assert_eq!(both, ["200", "200", "429"]);
    assert_eq!(server.parts.store.lease_count(), 2);
}
