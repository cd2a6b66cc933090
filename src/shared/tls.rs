//! TLS towards the shared store.

use std::path::PathBuf;

use redis::{ClientTlsConfig, TlsCertificates};

use super::SharedError;
use crate::file;

/// The certificates of a connection to the store over TLS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// A file of CA certificates in PEM that verify the store's certificate; default: the CA certificates of the system.
    pub root: Option<PathBuf>,
    /// The files of the certificate that is shown to the store, and of its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether the store's certificate may have any name. It is verified all the same. Not for sentinels.
    pub accepts_any_name: bool,
}

/// The contents of the files.
pub(super) struct TlsFiles {
    root: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) accepts_any_name: bool,
}

impl TlsFiles {
    /// # Errors
    /// [`SharedError::File`] if a file cannot be read.
    pub(super) fn read(tls: Tls) -> Result<Self, SharedError> {
        let read = |path: PathBuf| {
            file::read(&path, file::MAX_PEM).map_err(|error| SharedError::File { path, error })
        };
        let client = match tls.client {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        };
        let root = tls.root.map(read).transpose()?;
        Ok(Self { root, client, accepts_any_name: tls.accepts_any_name })
    }

    /// The certificates for a client; `None` if it needs none but those of the system.
    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        let client_tls = self.client.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.clone(),
        });
        let is_needed = client_tls.is_some() || self.root.is_some();
        is_needed.then(|| TlsCertificates { client_tls, root_cert: self.root.clone() })
    }
}
