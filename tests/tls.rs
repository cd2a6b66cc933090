//! gRPC over TLS, with a certificate made for the test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use support::{SHIPPED, TestServer, runtime, shipped};
use tempfile::TempDir;
use tollgate::config;
use tollgate::server::tls::{Identity, TlsError};
use tollgate::wire::RateLimitServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

/// A certificate for `localhost` that vouches for itself, and its key.
struct Pair {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _folder: folder, certificate, key }
    }

    fn identity(&self) -> Identity {
        Identity::read(&self.certificate, &self.key).unwrap()
    }
}

fn server(pair: &Pair) -> TestServer {
    let tls = Some(pair.identity());
    TestServer::with(&config::read(SHIPPED.as_ref()).unwrap(), |options| options.tls = tls)
}

async fn connect(
    server: &TestServer,
    trusted: &Path,
) -> Result<RateLimitServiceClient<Channel>, tonic::transport::Error> {
    let trusted = Certificate::from_pem(std::fs::read(trusted).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
    let address = format!("https://{}", server.grpc);
    let channel = Channel::from_shared(address).unwrap().tls_config(tls).unwrap();
    channel.connect().await.map(RateLimitServiceClient::new)
}

#[test]
fn calls_are_answered_over_tls_by_whom_the_client_trusts() {
    let (ours, other) = (Pair::new(), Pair::new());
    let server = server(&ours);
    let question = shipped(&[("tenant_type", "free"), ("tenant", "acme")]);
    runtime().block_on(async {
        let mut client = connect(&server, &ours.certificate).await.unwrap();
        for left in [9, 8] {
            let answer = client.should_rate_limit(question.clone()).await.unwrap().into_inner();
            assert_eq!(answer.statuses[0].limit_remaining, left);
        }
        assert!(connect(&server, &other.certificate).await.is_err(), "it is another's certificate");
    });
}

#[test]
fn plain_text_is_refused_where_tls_is_on_and_harms_nobody() {
    let pair = Pair::new();
    let server = server(&pair);
    let question = shipped(&[("tenant_type", "free"), ("tenant", "acme")]);
    let mut plain = TcpStream::connect(server.grpc).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut told = Vec::new();
    // TLS's alert, and the end; nothing of HTTP/2.
    plain.read_to_end(&mut told).unwrap();
    assert_eq!(told.first(), Some(&0x15), "{told:?}");
    runtime().block_on(async {
        let mut client = connect(&server, &pair.certificate).await.unwrap();
        client.should_rate_limit(question).await.unwrap();
    });
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_with_its_file() {
    let (ours, other) = (Pair::new(), Pair::new());
    let told =
        |certificate: &Path, key: &Path| Identity::read(certificate, key).map(drop).unwrap_err();
    let missing = ours.certificate.with_file_name("missing.pem");
    let error = told(&missing, &ours.key);
    assert!(matches!(error, TlsError::File { what: "certificate", .. }), "{error}");
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = told(&ours.key, &ours.key);
    assert!(matches!(error, TlsError::NoCertificate(_)), "{error}");
    let error = told(&ours.certificate, &ours.certificate);
    assert!(matches!(error, TlsError::File { what: "key", .. }), "{error}");
    let error = told(&ours.certificate, &other.key);
    assert!(matches!(error, TlsError::Pair { .. }), "{error}");
}
