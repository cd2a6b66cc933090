//! Who may come in over TLS, with certificates made for the test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod callers;
use crate::certificates;
mod http;
mod renewal;
use crate::support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use certificates::{Authority, Pair};
use support::{SHIPPED, TestServer, runtime, shipped};
use tempfile::TempDir;
use tollgate::config;
use tollgate::server::Options;
use tollgate::tls::{ClientAuth, Files, Identity, Side, TlsError};
use tollgate::wire::{RateLimitRequest, RateLimitServiceClient};
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig};

/// A certificate for `localhost`, and who vouches for it.
struct Ours {
    authority: Authority,
    folder: TempDir,
    files: Files,
}

impl Ours {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = authority.issue(&["localhost"]).write(folder.path(), "server");
        Self { authority, folder, files: Files { certificate, key, client_auth: None } }
    }

    /// Lets in only whom this authority vouches for, with one of these names if there are any.
    fn letting_in(mut self, authority: &Authority, names: &[&str]) -> Self {
        let path = self.folder.path().join("callers.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        self.files.client_auth = Some(ClientAuth { authority: path, names });
        self
    }

    fn identity(&self, side: Side) -> Identity {
        Identity::read(side, self.files.clone()).unwrap()
    }

    fn serve(&self, side: Side) -> TestServer {
        let identity = Some(self.identity(side));
        serve(|options| match side {
            Side::Grpc => options.grpc_tls = identity,
            Side::Http => options.http_tls = identity,
        })
    }
}

fn serve(change: impl FnOnce(&mut Options)) -> TestServer {
    TestServer::with(&config::read(SHIPPED.as_ref()).unwrap(), change)
}

fn question() -> RateLimitRequest {
    shipped(&[("tenant_type", "free"), ("tenant", "acme")])
}

async fn connect(
    server: &TestServer,
    trusted: &Authority,
    shown: Option<&Pair>,
) -> Result<RateLimitServiceClient<Channel>, transport::Error> {
    let trusted = Certificate::from_pem(trusted.pem());
    let mut tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
    if let Some(pair) = shown {
        tls = tls.identity(transport::Identity::from_pem(&pair.certificate, &pair.key));
    }
    let address = format!("https://{}", server.grpc);
    let channel = Channel::from_shared(address).unwrap().tls_config(tls).unwrap();
    channel.connect().await.map(RateLimitServiceClient::new)
}

/// Whether a call over a connection of its own is answered.
fn is_answered(server: &TestServer, trusted: &Authority, shown: Option<&Pair>) -> bool {
    runtime().block_on(async {
        let Ok(mut client) = connect(server, trusted, shown).await else { return false };
        client.should_rate_limit(question()).await.is_ok()
    })
}

/// What a server that speaks TLS alone says to one who does not: an alert of TLS, and the end.
fn assert_refuses_plain_text(address: SocketAddr, said: &[u8]) {
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(said).unwrap();
    let mut told = Vec::new();
    plain.read_to_end(&mut told).unwrap();
    assert_eq!(told.first(), Some(&0x15), "{told:?}");
}

#[test]
fn calls_are_answered_over_tls_by_whom_the_client_trusts() {
    let ours = Ours::new();
    let server = ours.serve(Side::Grpc);
    runtime().block_on(async {
        let mut client = connect(&server, &ours.authority, None).await.unwrap();
        for left in [9, 8] {
            let answer = client.should_rate_limit(question()).await.unwrap().into_inner();
            assert_eq!(answer.statuses[0].limit_remaining, left);
        }
        let other = connect(&server, &Authority::new(), None).await;
        assert!(other.is_err(), "it is another's certificate");
    });
}

#[test]
fn plain_text_is_refused_where_tls_is_on_and_harms_nobody() {
    let ours = Ours::new();
    let server = ours.serve(Side::Grpc);
    assert_refuses_plain_text(server.grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(is_answered(&server, &ours.authority, None));
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_with_its_file() {
    let (ours, other) = (Ours::new(), Ours::new());
    let told = |certificate: &Path, key: &Path, callers: Option<&Path>| {
        let client_auth =
            callers.map(|path| ClientAuth { authority: path.into(), names: Vec::new() });
        let files = Files { certificate: certificate.into(), key: key.into(), client_auth };
        Identity::read(Side::Grpc, files).map(drop).unwrap_err()
    };
    let (certificate, key) = (&*ours.files.certificate, &*ours.files.key);
    let missing = certificate.with_file_name("missing.pem");
    let error = told(&missing, key, None);
    assert!(matches!(error, TlsError::File { what: "certificate", .. }), "{error}");
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = told(key, key, None);
    assert!(matches!(error, TlsError::NoCertificate(_)), "{error}");
    let error = told(certificate, certificate, None);
    assert!(matches!(error, TlsError::File { what: "key", .. }), "{error}");
    let error = told(certificate, &other.files.key, None);
    assert!(matches!(error, TlsError::Pair { .. }), "{error}");
    let error = told(certificate, key, Some(&missing));
    assert!(matches!(error, TlsError::File { what: "client CA", .. }), "{error}");
    let error = told(certificate, key, Some(key));
    assert!(matches!(error, TlsError::NoCertificate(_)), "{error}");
    let garbage = certificate.with_file_name("garbage.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&garbage, text).unwrap();
    let error = told(certificate, key, Some(&garbage));
    assert!(matches!(error, TlsError::Authority { .. }), "{error}");
    assert!(error.to_string().contains("garbage.pem"), "{error}");
}
