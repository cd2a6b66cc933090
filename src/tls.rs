//! TLS for gRPC and HTTP: the server's certificate, and the client certificates that it accepts.

mod client_auth;
mod contents;
mod names;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection};
use tokio_rustls::{Accept, TlsAcceptor};

pub use self::client_auth::ClientAuth;
pub use self::names::{ClientName, ClientNameError};

use self::contents::{Contents, Hash};

/// The side that is served: it decides on the protocol within TLS, and on how strictly clients are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// HTTP/2. With [`ClientAuth`], the handshake rejects a client without a certificate or without an allowed name.
    Grpc,
    /// HTTP/1.1. With [`ClientAuth`], the handshake rejects only a certificate from another CA: probes and scrapers may
    /// have no certificate.
    Http,
}

impl Side {
    /// The protocol's name in ALPN.
    const fn protocol(self) -> &'static [u8] {
        match self {
            Self::Grpc => b"h2",
            Self::Http => b"http/1.1",
        }
    }
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read the {what} in {}: {error}", path.display())]
    File {
        /// `certificate`, `key` or `client CA`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        error: pem::Error,
    },
    /// A file without a certificate.
    #[error("{}: it contains no certificate; write at least one, in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The key does not belong to the certificate, or one of them is of an unsupported kind.
    #[error("the certificate in {} cannot be used with the key in {}: {error}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        error: rustls::Error,
    },
    /// Client CA certificates that cannot verify a certificate.
    #[error("the client CA in {} cannot verify certificates: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: rustls::Error,
    },
}

/// The PEM files of one side.
#[derive(Debug, Clone)]
pub struct Files {
    /// The server's certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The client certificates that are accepted; `None`: clients are not asked for one.
    pub client_auth: Option<ClientAuth>,
}

/// The TLS configuration of one side, from its files as they were last read.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    side: Side,
    files: Files,
    active: ArcSwap<Active>,
    /// Held while files are read, so that the last read wins.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct Active {
    config: Arc<ServerConfig>,
    /// The hash of the files' contents.
    hash: Hash,
    /// The DNS names of the server's certificate, with wildcards.
    names: Vec<String>,
}

/// Certificates that differ from those in force, from the same files.
#[derive(Debug)]
pub struct NewCertificates(Active);

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read, or the files do not belong together.
    pub fn read(side: Side, files: Files) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let active = ArcSwap::from_pointee(build(side, &files, &contents)?);
        Ok(Self(Arc::new(Inner { side, files, active, reading: Mutex::default() })))
    }

    /// Reads the files again, puts changes in force, and returns whether there were any. Open connections are not
    /// affected.
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used; the previous certificates stay in force.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let _reading = self.0.reading.lock();
        let renewed = self.reread()?;
        let has_changed = renewed.is_some();
        renewed.into_iter().for_each(|renewed| self.install(renewed));
        Ok(has_changed)
    }

    /// Reads the files again, and returns their certificates if they have changed.
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used.
    pub fn reread(&self) -> Result<Option<NewCertificates>, TlsError> {
        let Inner { side, files, active: before, .. } = &*self.0;
        let contents = Contents::read(files)?;
        if contents.hash() == before.load().hash {
            return Ok(None);
        }
        build(*side, files, &contents).map(NewCertificates).map(Some)
    }

    /// Puts certificates in force. Open connections are not affected.
    pub fn install(&self, NewCertificates(renewed): NewCertificates) {
        self.0.active.store(Arc::new(renewed));
    }

    /// Whether client certificates are verified.
    pub fn verifies_clients(&self) -> bool {
        self.0.files.client_auth.is_some()
    }

    /// The side that it is for.
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// The files that are read.
    pub fn paths(&self) -> Vec<PathBuf> {
        let Files { certificate, key, client_auth } = &self.0.files;
        let authority = client_auth.as_ref().map(|client_auth| &client_auth.authority);
        [certificate, key].into_iter().chain(authority).cloned().collect()
    }

    /// Starts a handshake, which has no timeout of its own.
    pub(crate) fn accept<I>(&self, io: I) -> Accept<I>
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config()).accept(io)
    }

    /// The configuration in force; a later call may return another.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.active.load().config)
    }

    /// Whether the server's certificate has this host name, ignoring case.
    pub(crate) fn covers_host(&self, host: &str) -> bool {
        let active = self.0.active.load();
        active.names.iter().any(|name| names::covers(name, host))
    }

    /// Whether the client, after its handshake, has a certificate with an allowed name.
    pub(crate) fn is_authorized(&self, client: &ServerConnection) -> bool {
        let certificate = client.peer_certificates().and_then(<[_]>::first);
        let client_auth = self.0.files.client_auth.as_ref();
        client_auth.zip(certificate).is_some_and(|(auth, certificate)| auth.allows(certificate))
    }
}

fn build(side: Side, files: &Files, contents: &Contents) -> Result<Active, TlsError> {
    let (chain, secret) = contents.pair(files)?;
    let names = chain.first().map(names::dns_names).unwrap_or_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client_auth = files.client_auth.as_ref().zip(contents.roots(files)?);
    let verifier = client_auth
        .map(|(client_auth, roots)| client_auth.verifier(side, roots, &provider))
        .transpose()?;
    let pair = |error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let verifies_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, secret).map_err(pair)?;
    config.alpn_protocols = vec![side.protocol().to_vec()];
    if verifies_clients {
        // A resumed session would skip the verification of its certificate, even if it has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Active { config: Arc::new(config), hash: contents.hash(), names })
}

type Provider = Arc<CryptoProvider>;
