//! TLS, for gRPC and HTTP alike: our own certificate, and which callers' certificates let in.

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

/// Which side is served, and so what is spoken inside and how strict it is with callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// HTTP/2. Where callers are to be known, one without a certificate or with a name that is not allowed
    /// is refused at the handshake.
    Grpc,
    /// HTTP/1.1. Probes and scrapers may have no certificate: only one that nobody vouches for is refused.
    Http,
}

impl Side {
    /// What it speaks, as ALPN names it.
    const fn protocol(self) -> &'static [u8] {
        match self {
            Self::Grpc => b"h2",
            Self::Http => b"http/1.1",
        }
    }
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read the {what} in {}: {error}", path.display())]
    File {
        /// `certificate`, `key` or `client CA`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// A file without a certificate.
    #[error("{}: there is no certificate in it; give one in PEM, with those that vouch for it", .0.display())]
    NoCertificate(PathBuf),
    /// Certificate and key do not go together, or are of a kind that is not known.
    #[error("the certificate in {} cannot be used with the key in {}: {error}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// Certificates that can vouch for nobody.
    #[error("the client CA in {} cannot vouch for client_auth: {error}", path.display())]
    Authority {
        /// Their file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// The files that TLS is served with, in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// Our certificate, with the chain that vouches for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may come in; none: anybody, and nobody is asked for a certificate.
    pub client_auth: Option<ClientAuth>,
}

/// What TLS connections of one side are accepted with: what its files held when they were read last.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    side: Side,
    files: Files,
    active: ArcSwap<Active>,
    /// Held while files are read, so that what was read last is in force.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct Active {
    config: Arc<ServerConfig>,
    /// Of the files' contents.
    hash: Hash,
    /// The DNS names of our certificate, wildcards among them.
    names: Vec<String>,
}

/// Other certificates than those in force, of the same files.
#[derive(Debug)]
pub struct NewCertificates(Active);

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] where one is not there, or they do not go together.
    pub fn read(side: Side, files: Files) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let active = ArcSwap::from_pointee(build(side, &files, &contents)?);
        Ok(Self(Arc::new(Inner { side, files, active, reading: Mutex::default() })))
    }

    /// Reads the files again, and returns whether they say anything new. Connections that are open stay as
    /// they are; those to come meet what was read.
    ///
    /// # Errors
    /// [`TlsError`] where it cannot be used; what was read before stays in force then.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let _reading = self.0.reading.lock();
        let renewed = self.reread()?;
        let has_changed = renewed.is_some();
        renewed.into_iter().for_each(|renewed| self.install(renewed));
        Ok(has_changed)
    }

    /// Reads the files again, and returns what they say if that is new.
    ///
    /// # Errors
    /// [`TlsError`] where it cannot be used.
    pub fn reread(&self) -> Result<Option<NewCertificates>, TlsError> {
        let Inner { side, files, active: before, .. } = &*self.0;
        let contents = Contents::read(files)?;
        if contents.hash() == before.load().hash {
            return Ok(None);
        }
        build(*side, files, &contents).map(NewCertificates).map(Some)
    }

    /// Puts in force what was read. Connections that are open stay as they are.
    pub fn install(&self, NewCertificates(renewed): NewCertificates) {
        self.0.active.store(Arc::new(renewed));
    }

    /// Whose it is.
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// What is read.
    pub fn paths(&self) -> Vec<PathBuf> {
        let Files { certificate, key, client_auth } = &self.0.files;
        let authority = client_auth.as_ref().map(|client_auth| &client_auth.authority);
        [certificate, key].into_iter().chain(authority).cloned().collect()
    }

    /// A connection's handshake. Nothing bounds its time.
    pub(crate) fn accept<I>(&self, io: I) -> Accept<I>
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config()).accept(io)
    }

    /// What is in force: another, once other files were read.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.active.load().config)
    }

    /// Whether our certificate is for a host of this name, in any case.
    pub(crate) fn covers_host(&self, host: &str) -> bool {
        let active = self.0.active.load();
        active.names.iter().any(|name| names::covers(name, host))
    }

    /// Whether the caller, past its handshake, showed a certificate with an allowed name.
    pub(crate) fn is_authorized(&self, caller: &ServerConnection) -> bool {
        let shown = caller.peer_certificates().and_then(<[_]>::first);
        let client_auth = self.0.files.client_auth.as_ref();
        client_auth.zip(shown).is_some_and(|(client_auth, shown)| client_auth.allows(shown))
    }
}

fn build(side: Side, files: &Files, contents: &Contents) -> Result<Active, TlsError> {
    let (chain, secret) = contents.pair(files)?;
    let names = chain.first().map(names::dns_names).unwrap_or_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client_auth = files.client_auth.as_ref().zip(contents.roots(files)?);
    let verifier =
        client_auth.map(|(client_auth, roots)| client_auth.verifier(side, roots, &provider)).transpose()?;
    let pair = |error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let is_asked = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, secret).map_err(pair)?;
    config.alpn_protocols = vec![side.protocol().to_vec()];
    if is_asked {
        // A session taken up again would not have its certificate looked at again, be it expired by then.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Active { config: Arc::new(config), hash: contents.hash(), names })
}

type Provider = Arc<CryptoProvider>;
