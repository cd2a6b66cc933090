//! TLS towards a control plane.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::settings::Tls;
use crate::file::{self, MAX_PEM};
use crate::reading;

impl Tls {
    /// Reads the files, so that the start tells what is wrong with them.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn check(&self) -> Result<(), String> {
        let of = self.clone();
        let checked = reading::read_now(move || config(&of).map(drop));
        checked.map_err(|error| format!("the certificates: {error}"))?
    }
}

/// Reads the files.
///
/// # Errors
/// If a file cannot be read or used.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let roots = roots(tls.authority.as_deref())?;
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let text = read(key)?;
            let secret = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|error| format!("{}: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                format!(
                    "the certificate in {certificate} cannot be used with the key in {key}: {error}"
                )
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The CA certificates of the system, and those in a file.
fn roots(authority: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A system without any, or with some that cannot be read, may do with those of the file.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authority {
        for root in certificates(path)? {
            roots.add(root).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err("the system has no CA certificates; name a file with those that verify the \
                    control plane"
            .to_owned());
    }
    Ok(roots)
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        let what = "it contains no certificate; write at least one, in PEM";
        return Err(format!("{}: {what}", path.display()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, MAX_PEM).map_err(|error| format!("{}: {error}", path.display()))
}
