//! The client certificates that are accepted.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use webpki::EndEntityCert;

use super::{ClientName, Provider, Side, TlsError, names};

/// Names of a rejected certificate that are logged.
const MAX_LOGGED_NAMES: usize = 8;

/// Which client certificates are accepted.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// The file with the CA certificates that verify client certificates, in PEM.
    pub authority: PathBuf,
    /// The names of which a certificate must have one. If empty, every certificate from the CA is accepted.
    pub names: Vec<ClientName>,
}

impl ClientAuth {
    /// The verifier of client certificates in the handshake.
    pub(super) fn verifier(
        &self,
        side: Side,
        roots: RootCertStore,
        provider: &Provider,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let builder = match side {
            Side::Grpc => builder,
            Side::Http => builder.allow_unauthenticated(),
        };
        let built = builder.build();
        let inner =
            built.map_err(|error| self.authority_error(Error::General(error.to_string())))?;
        Ok(match side {
            Side::Grpc => Arc::new(NameVerifier { inner, client_auth: self.clone() }),
            Side::Http => inner,
        })
    }

    pub(super) fn authority_error(&self, error: Error) -> TlsError {
        TlsError::Authority { path: self.authority.clone(), error }
    }

    /// Whether a verified certificate has an allowed name. One that cannot be read has none.
    pub fn allows(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
        let has = |name: &ClientName| match name {
            ClientName::Dns(name) => {
                certificate.valid_dns_names().any(|own| own.eq_ignore_ascii_case(name))
            }
            ClientName::Host(host) => {
                certificate.valid_dns_names().any(|own| names::covers(own, host))
            }
            ClientName::Uri(name) => certificate.valid_uri_names().any(|own| own == name),
        };
        let is_allowed = self.names.iter().any(has);
        if !is_allowed {
            let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
            let names: Vec<_> = names.take(MAX_LOGGED_NAMES).collect();
            // `?` escapes the names, which the client chose.
            tracing::debug!(?names, "a client certificate has no allowed name");
        }
        is_allowed
    }
}

/// Accepts a certificate that `inner` verifies and that has an allowed name.
#[derive(Debug)]
struct NameVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    client_auth: ClientAuth,
}

impl ClientCertVerifier for NameVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if self.client_auth.allows(end_entity) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
