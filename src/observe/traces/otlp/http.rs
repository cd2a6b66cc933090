//! The client of OTLP over HTTP: plain text or TLS, on the runtime that the tracer is started in.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::{Collector, TracerError};

/// Sends requests on a runtime, since the thread that sends spans has none.
#[derive(Debug)]
pub(super) struct Client {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}

/// A client for a collector, to be called within a runtime.
///
/// # Errors
/// [`TracerError::Tls`] if it is asked over TLS, and the certificates cannot be used.
pub(super) fn client(of: &Collector, is_tls: bool) -> Result<Client, TracerError> {
    let roots = if is_tls { roots(of)? } else { RootCertStore::empty() };
    let tls = config(of, roots)?;
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client = HyperClient::new(connector, of.timeout, None);
    Ok(Client { client, runtime: Handle::current() })
}

/// The CA certificates that verify the collector: its own, else those of the system.
fn roots(of: &Collector) -> Result<RootCertStore, TracerError> {
    let mut roots = RootCertStore::empty();
    let Some(own) = &of.root else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let what = "the system has no CA certificates; name a file with those of the collector";
        return if roots.is_empty() { Err(unusable(what)) } else { Ok(roots) };
    };
    for root in certificates(own).map_err(unusable)? {
        roots.add(root).map_err(unusable)?;
    }
    let what = "the CA file contains no certificate; write at least one, in PEM";
    if roots.is_empty() { Err(unusable(what)) } else { Ok(roots) }
}

fn unusable(error: impl Display) -> TracerError {
    TracerError::Tls(error.to_string())
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(text).collect()
}

/// The configuration of TLS, with the certificate that the collector is shown.
fn config(of: &Collector, roots: RootCertStore) -> Result<ClientConfig, TracerError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &of.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(unusable)?;
    builder.with_client_auth_cert(chain, key).map_err(unusable)
}
