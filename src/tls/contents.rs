//! The contents of the TLS files.

use std::path::Path;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Files, TlsError};
use crate::file::MAX_PEM;

/// A SHA-256 hash of the contents.
pub(super) type Hash = [u8; 32];

/// The certificates of a file, in its order.
type Chain = Vec<CertificateDer<'static>>;

/// The bytes of each file.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl Contents {
    pub(super) fn read(files: &Files) -> Result<Self, TlsError> {
        let authority = files.client_auth.as_ref().map(|client_auth| &client_auth.authority);
        Ok(Self {
            certificate: read("certificate", &files.certificate)?,
            key: read("key", &files.key)?,
            authority: authority.map(|path| read("client CA", path)).transpose()?,
        })
    }

    pub(super) fn hash(&self) -> Hash {
        let mut hash = Sha256::new();
        for text in [&self.certificate, &self.key].into_iter().chain(&self.authority) {
            // The length separates the files, so that moving bytes from one to the next changes the hash.
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// The certificate with its intermediate certificates, and its key.
    pub(super) fn pair(&self, files: &Files) -> Result<(Chain, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates("certificate", &files.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        Ok((chain, key.map_err(file("key", &files.key))?))
    }

    /// The CA certificates that verify clients; `None` without client authentication.
    pub(super) fn roots(&self, files: &Files) -> Result<Option<RootCertStore>, TlsError> {
        let Some((client_auth, text)) = files.client_auth.as_ref().zip(self.authority.as_ref())
        else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for root in certificates("client CA", &client_auth.authority, text)? {
            roots.add(root).map_err(|error| client_auth.authority_error(error))?;
        }
        Ok(Some(roots))
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    crate::file::read(path, MAX_PEM).map_err(pem::Error::Io).map_err(file(what, path))
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::File { what, path, error }
}

/// The certificates in a PEM text, at least one.
fn certificates(what: &'static str, path: &Path, text: &[u8]) -> Result<Chain, TlsError> {
    let found: Chain =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(file(what, path))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(found)
}
