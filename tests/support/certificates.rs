//! Certificates made for a test, and a client that shows them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic, and no test uses all of it"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Authorities are told apart by their names.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Whose word goes.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these names: IP addresses, URIs if they have a colon, else names of hosts.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| {})
    }

    /// One that is no more.
    pub fn issue_expired(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let name = |name: &&str| {
            if let Ok(address) = name.parse() {
                return SanType::IpAddress(address);
            }
            let text = (*name).try_into().unwrap();
            if name.contains(':') { SanType::URI(text) } else { SanType::DnsName(text) }
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(name).collect();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap().to_vec()
    }

    /// Writes both to files of that name; an old pair there is replaced.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let path = |end| folder.join(format!("{name}.{end}.pem"));
        let (certificate, key) = (path("cert"), path("key"));
        std::fs::write(&certificate, &self.certificate).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (certificate, key)
    }
}

/// A client that trusts one authority and shows a certificate, if it has one.
pub fn client(trusted: &Authority, shown: Option<&Pair>, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.0.der().clone()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Says something over TLS to who calls itself `localhost`, and tells all that comes until the end.
///
/// # Errors
/// What ends the connection before that, such as an alert of the other end.
pub fn exchange(address: SocketAddr, config: ClientConfig, said: &[u8]) -> std::io::Result<String> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    exchange_over(stream, config, said)
}

/// The same over a connection that is there already.
///
/// # Errors
/// As of [`exchange`].
pub fn exchange_over(
    stream: impl Read + Write,
    config: ClientConfig,
    said: &[u8],
) -> std::io::Result<String> {
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(said)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// The certificate that a server shows, in DER.
///
/// # Errors
/// As of [`exchange`].
pub fn shown_by(address: SocketAddr, config: ClientConfig) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    shown_over(stream, config)
}

/// The same over a connection that is there already.
///
/// # Errors
/// As of [`exchange`].
pub fn shown_over(mut stream: impl Read + Write, config: ClientConfig) -> std::io::Result<Vec<u8>> {
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(connection.peer_certificates().unwrap()[0].to_vec())
}

/// A request of HTTP/1.1 over TLS, whole.
///
/// # Errors
/// As of [`exchange`].
pub fn get(
    address: SocketAddr,
    trusted: &Authority,
    shown: Option<&Pair>,
    path: &str,
) -> std::io::Result<String> {
    let said = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(address, client(trusted, shown, b"http/1.1"), said.as_bytes())
}
