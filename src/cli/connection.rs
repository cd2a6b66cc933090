//! Connections of a command to a server: over TCP, TLS or a Unix domain socket, and why one fails.

mod fault;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use self::fault::Fault;
pub(super) use self::fault::{Faults, NoAnswer};
use super::address::ServerAddress;
use crate::file;

/// TLS towards a server. Every command that calls one has these flags.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ClientTls {
    /// CA certificates that verify the server over https, in PEM; required for https.
    #[arg(long, env = "TOLLGATE_ADMIN_TLS_CA", value_name = "FILE", global = true)]
    tls_ca: Option<PathBuf>,
    /// Client certificate for https, in PEM, if the server requires one.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        global = true
    )]
    tls_cert: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        global = true
    )]
    tls_key: Option<PathBuf>,
    /// Name that the server's certificate must have over https: a DNS name or an IP address. The host of the
    /// address if omitted.
    #[arg(long, env = "TOLLGATE_ADMIN_TLS_NAME", value_name = "NAME", value_parser = server_name,
          global = true)]
    tls_name: Option<ServerName<'static>>,
}

fn server_name(text: &str) -> Result<ServerName<'static>, &'static str> {
    ServerName::try_from(text.to_owned()).map_err(|_| "write a DNS name or an IP address")
}

/// The protocol within a connection, by its name in ALPN.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }
    }
}

impl ClientTls {
    fn config(&self, protocol: Protocol) -> Result<ClientConfig, NoAnswer> {
        let ca = self.tls_ca.as_ref().ok_or_else(|| {
            NoAnswer::advised(
                "set --tls-ca to a file with the CA certificates that verify the server",
            )
        })?;
        let invalid = |path: &Path| {
            let path = path.display().to_string();
            move |error| NoAnswer::advised(format!("{path}: {error}"))
        };
        let mut roots = RootCertStore::empty();
        let text = read(ca)?;
        for root in CertificateDer::pem_slice_iter(&text) {
            let root = root.map_err(invalid(ca))?;
            roots
                .add(root)
                .map_err(|error| NoAnswer::advised(format!("{}: {error}", ca.display())))?;
        }
        if roots.is_empty() {
            let what = "contains no certificate; write at least one, in PEM";
            return Err(NoAnswer::advised(format!("{}: it {what}", ca.display())));
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let unusable =
            |error| NoAnswer::advised(format!("no TLS with these certificates: {error}"));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let mut config = match self.tls_cert.as_ref().zip(self.tls_key.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let text = read(cert)?;
                let chain = CertificateDer::pem_slice_iter(&text);
                let chain = chain.collect::<Result<_, _>>().map_err(invalid(cert))?;
                let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(invalid(key))?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        config.alpn_protocols = vec![protocol.alpn()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, NoAnswer> {
    file::read(path, file::MAX_PEM)
        .map_err(|error| NoAnswer::advised(format!("{}: {error}", path.display())))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// A connection to a server. It remembers why it failed, since HTTP libraries do not tell.
///
/// A server that closes a connection has sent the reason before, as an alert. A write may fail before that is read, and
/// would end the request. So a write that fails is taken as made; reading then ends the request, with the reason.
pub(super) struct Connection {
    io: Box<dyn Io>,
    is_tls: bool,
    has_read: bool,
    /// Whether a write has failed.
    is_closed: bool,
    faults: Faults,
}

impl Connection {
    /// Connects, and shakes hands if the address is https.
    ///
    /// # Errors
    /// If there is no server, or no agreement with it.
    pub(super) async fn open(
        address: &ServerAddress,
        tls: &ClientTls,
        protocol: Protocol,
    ) -> Result<Self, NoAnswer> {
        let no_server = |error: io::Error| NoAnswer::plain(error.to_string());
        let (io, is_tls): (Box<dyn Io>, bool) = match address {
            ServerAddress::Unix(path) => {
                (Box::new(UnixStream::connect(path).await.map_err(no_server)?), false)
            }
            ServerAddress::Plain(authority) => {
                (Box::new(TcpStream::connect(authority).await.map_err(no_server)?), false)
            }
            ServerAddress::Tls(authority, host) => {
                let connector = TlsConnector::from(Arc::new(tls.config(protocol)?));
                let stream = TcpStream::connect(authority).await.map_err(no_server)?;
                let name = tls.tls_name.as_ref().unwrap_or(host).clone();
                let stream = connector.connect(name, stream).await;
                (Box::new(stream.map_err(|error| Fault::of_handshake(&error).explain())?), true)
            }
        };
        Ok(Self { io, is_tls, has_read: false, is_closed: false, faults: Faults::default() })
    }

    /// What went wrong with it, known once a request over it has failed.
    pub(super) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn note(&self, error: &io::Error) {
        if let Some(fault) = Fault::of(error) {
            self.faults.set(fault);
        }
    }
}

/// The type of a TLS record that is an alert (RFC 8446, 5.1). No HTTP response begins with it.
const ALERT: u8 = 21;

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        match &poll {
            Poll::Ready(Err(error)) => self.note(error),
            Poll::Ready(Ok(())) if !self.has_read => {
                self.has_read = true;
                if !self.is_tls && buf.filled().get(before) == Some(&ALERT) {
                    self.faults.set(Fault::ExpectsTls);
                }
            }
            _ => {}
        }
        poll
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        let Poll::Ready(Err(error)) = &poll else { return poll };
        self.note(error);
        self.is_closed = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_closed {
            return Poll::Ready(Ok(()));
        }
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        let Poll::Ready(Err(error)) = &poll else { return poll };
        self.note(error);
        self.is_closed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
