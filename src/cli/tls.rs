//! The TLS flags of `serve`.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::observe::telemetry::Certificates;
use crate::policy_files::Cause;
use crate::reading::{self, ReadError, Reader};
use crate::tls::{ClientAuth, ClientName, Files, Identity, NewCertificates, Side, TlsError};

/// TLS for gRPC.
#[derive(Debug, Args)]
pub(super) struct GrpcTls {
    /// Certificate for gRPC over TLS, in PEM, followed by its intermediate certificates. Without it, gRPC is
    /// plain text.
    #[arg(
        long = "grpc-tls-cert",
        id = "grpc_tls_cert",
        env = "TOLLGATE_GRPC_TLS_CERT",
        value_name = "FILE",
        requires = "grpc_tls_key"
    )]
    cert: Option<PathBuf>,
    /// Private key of the gRPC certificate, in PEM.
    #[arg(
        long = "grpc-tls-key",
        id = "grpc_tls_key",
        env = "TOLLGATE_GRPC_TLS_KEY",
        value_name = "FILE",
        requires = "grpc_tls_cert"
    )]
    key: Option<PathBuf>,
    /// CA certificates that verify client certificates for gRPC, in PEM. A client without a certificate from
    /// one of these CAs is rejected in the handshake. If omitted, no client certificate is required.
    #[arg(
        long = "grpc-tls-client-ca",
        id = "grpc_tls_client_ca",
        env = "TOLLGATE_GRPC_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "grpc_tls_cert"
    )]
    client_ca: Option<PathBuf>,
    /// Name that a client certificate for gRPC must contain: a DNS name, or a URI such as a SPIFFE ID, matched
    /// as a whole. Repeatable, or separated by commas; one match is enough. If omitted, every certificate from
    /// the client CA is accepted.
    #[arg(
        long = "grpc-tls-client-name",
        id = "grpc_tls_client_name",
        env = "TOLLGATE_GRPC_TLS_CLIENT_NAME",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "grpc_tls_client_ca"
    )]
    client_name: Vec<ClientName>,
}

impl GrpcTls {
    /// The TLS identity of gRPC; `None` for plain text.
    pub(super) fn identity(&self) -> Result<Option<Identity>, Failure> {
        let files = files(&self.cert, &self.key, &self.client_ca, &self.client_name);
        files.map(|files| identity(Side::Grpc, files)).transpose()
    }
}

/// TLS for HTTP.
#[derive(Debug, Args)]
pub(super) struct HttpTls {
    /// Certificate for HTTP over TLS, in PEM, followed by its intermediate certificates. Without it, HTTP is
    /// plain text.
    #[arg(
        long = "http-tls-cert",
        id = "http_tls_cert",
        env = "TOLLGATE_HTTP_TLS_CERT",
        value_name = "FILE",
        requires = "http_tls_key"
    )]
    cert: Option<PathBuf>,
    /// Private key of the HTTP certificate, in PEM.
    #[arg(
        long = "http-tls-key",
        id = "http_tls_key",
        env = "TOLLGATE_HTTP_TLS_KEY",
        value_name = "FILE",
        requires = "http_tls_cert"
    )]
    key: Option<PathBuf>,
    /// CA certificates that verify client certificates for HTTP, in PEM. A certificate from another CA is
    /// rejected in the handshake. A client without a certificate may read, as probes do, but needs the admin
    /// token to change anything.
    #[arg(
        long = "http-tls-client-ca",
        id = "http_tls_client_ca",
        env = "TOLLGATE_HTTP_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "http_tls_cert"
    )]
    client_ca: Option<PathBuf>,
    /// Name that a client certificate must contain to permit changes over HTTP; see `--grpc-tls-client-name`.
    #[arg(
        long = "http-tls-client-name",
        id = "http_tls_client_name",
        env = "TOLLGATE_HTTP_TLS_CLIENT_NAME",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "http_tls_client_ca"
    )]
    client_name: Vec<ClientName>,
}

impl HttpTls {
    /// The TLS identity of HTTP; `None` for plain text.
    pub(super) fn identity(&self) -> Result<Option<Identity>, Failure> {
        let files = files(&self.cert, &self.key, &self.client_ca, &self.client_name);
        files.map(|files| identity(Side::Http, files)).transpose()
    }
}

/// Reads certificates again when their files change.
#[derive(Debug)]
pub(super) struct Renewal {
    identities: Vec<Identity>,
    counters: Certificates,
    reader: Reader,
}

impl Renewal {
    /// For the certificates of all sides; `None` if there are none.
    pub(super) fn new(identities: Vec<Identity>, counters: Certificates) -> Option<Self> {
        let has_any = !identities.is_empty();
        has_any.then(|| Self { identities, counters, reader: Reader::default() })
    }

    /// The files that hold them.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.identities.iter().flat_map(Identity::paths).collect()
    }

    /// Reads all certificates. If those of a side cannot be used or read in time, its previous ones stay in force.
    pub(super) async fn renew(&self, cause: Cause) {
        let identities = self.identities.clone();
        let read = move || identities.iter().map(Identity::reread).collect::<Vec<_>>();
        let (identities, counters) = (self.identities.clone(), self.counters.clone());
        let apply = move |read: Result<Vec<_>, ReadError>| {
            let rejected = match read {
                Ok(read) => {
                    let sides = identities.iter().zip(read);
                    sides.filter_map(|(identity, read)| apply(identity, read, cause).err()).count()
                }
                Err(error) => {
                    tracing::error!(%cause, %error, "the previous certificates stay in force");
                    identities.len()
                }
            };
            counters.record(rejected);
        };
        self.reader.read(read, apply).await;
    }
}

fn apply(
    identity: &Identity,
    read: Result<Option<NewCertificates>, TlsError>,
    cause: Cause,
) -> Result<(), TlsError> {
    let side = identity.side();
    match read {
        Ok(Some(renewed)) => {
            identity.install(renewed);
            tracing::info!(?side, %cause, "new certificates are in force");
            Ok(())
        }
        Ok(None) => {
            tracing::debug!(?side, %cause, "the certificates have not changed");
            Ok(())
        }
        Err(error) => {
            tracing::error!(?side, %cause, %error, "the previous certificates stay in force");
            Err(error)
        }
    }
}

pub(super) fn identity(side: Side, files: Files) -> Result<Identity, Failure> {
    let read = reading::read_now(move || Identity::read(side, files));
    Ok(read.map_err(|error| format!("the certificates of {side:?} cannot be read: {error}"))??)
}

fn files(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
    authority: &Option<PathBuf>,
    names: &[ClientName],
) -> Option<Files> {
    let (certificate, key) = certificate.clone().zip(key.clone())?;
    let client_auth = |authority| ClientAuth { authority, names: names.to_vec() };
    Some(Files { certificate, key, client_auth: authority.clone().map(client_auth) })
}
