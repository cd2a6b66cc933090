//! The flags of `serve` for a control plane.

use std::path::PathBuf;

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::xds::{Server, Settings, Tls};

/// A control plane that policies come from.
#[derive(Debug, Args)]
pub(super) struct ControlPlane {
    /// Take the policies from this control plane instead of files: ratelimit configurations over xDS.
    /// `https://HOST:PORT` is TLS.
    #[arg(long, env = "TOLLGATE_XDS", value_name = "HOST:PORT|https://HOST:PORT",
          conflicts_with = "config", value_parser = address)]
    xds: Option<Address>,
    /// Id by which the control plane knows this server.
    #[arg(long, env = "TOLLGATE_XDS_NODE", default_value = "default", value_name = "ID")]
    xds_node: String,
    /// What else the control plane is told of this server. Repeatable, or separated by commas.
    #[arg(long, env = "TOLLGATE_XDS_METADATA", value_name = "KEY=VALUE", value_delimiter = ',',
          value_parser = metadata)]
    xds_metadata: Vec<(String, String)>,
    /// Header that is sent to the control plane. Repeatable, or separated by commas.
    #[arg(long, env = "TOLLGATE_XDS_HEADER", value_name = "NAME:VALUE", value_delimiter = ',',
          hide_env_values = true, value_parser = header)]
    xds_header: Vec<(HeaderName, HeaderValue)>,
    /// Maximum bytes of a response of the control plane.
    #[arg(long, env = "TOLLGATE_XDS_MAX_MESSAGE", default_value = "4194304", value_name = "BYTES")]
    xds_max_message: usize,
    /// CA certificates that verify the control plane over TLS besides the system's, in PEM.
    #[arg(long, env = "TOLLGATE_XDS_TLS_CA", value_name = "FILE")]
    xds_tls_ca: Option<PathBuf>,
    /// Client certificate for the control plane, in PEM, followed by its intermediate certificates.
    #[arg(long, env = "TOLLGATE_XDS_TLS_CERT", value_name = "FILE", requires = "xds_tls_key")]
    xds_tls_cert: Option<PathBuf>,
    /// Private key of that certificate, in PEM.
    #[arg(long, env = "TOLLGATE_XDS_TLS_KEY", value_name = "FILE", requires = "xds_tls_cert")]
    xds_tls_key: Option<PathBuf>,
    /// Name that the control plane's certificate must have; its host if omitted.
    #[arg(long, env = "TOLLGATE_XDS_TLS_NAME", value_name = "NAME", value_parser = name)]
    xds_tls_name: Option<ServerName<'static>>,
}

/// The address of a control plane.
#[derive(Debug, Clone)]
struct Address {
    server: Server,
    is_tls: bool,
}

fn address(text: &str) -> Result<Address, &'static str> {
    let (is_tls, server) = match text.strip_prefix("https://") {
        Some(server) => (true, server),
        None => (false, text),
    };
    let server = server.parse().map_err(|_| "write HOST:PORT or https://HOST:PORT")?;
    Ok(Address { server, is_tls })
}

fn metadata(text: &str) -> Result<(String, String), &'static str> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = parts.ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    const FORM: &str = "write NAME:VALUE, in printable ASCII";
    let (name, value) = text.split_once(':').ok_or(FORM)?;
    let name = name.trim().parse().map_err(|_| FORM)?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| FORM)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn name(text: &str) -> Result<ServerName<'static>, &'static str> {
    ServerName::try_from(text.to_owned()).map_err(|_| "write a DNS name or an IP address")
}

impl ControlPlane {
    /// How the control plane is reached; `None` if the policies come from files.
    ///
    /// # Errors
    /// If the files of TLS cannot be used, or the flags contradict each other.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let tls = Tls {
            identity: self.xds_tls_cert.clone().zip(self.xds_tls_key.clone()),
            authority: self.xds_tls_ca.clone(),
            name: self.xds_tls_name.clone(),
        };
        let has_tls_flags = tls.identity.is_some() || tls.authority.is_some() || tls.name.is_some();
        let Some(Address { server, is_tls }) = self.xds.clone() else { return Ok(None) };
        if has_tls_flags && !is_tls {
            return Err(format!("--xds-tls-...: write --xds https://{server} for TLS"));
        }
        if is_tls {
            tls.check().map_err(|error| format!("--xds {server}: {error}"))?;
        }
        Ok(Some(Settings {
            node_id: self.xds_node.clone(),
            node_metadata: self.xds_metadata.clone(),
            tls: is_tls.then_some(tls),
            headers: self.xds_header.clone(),
            max_message_bytes: self.xds_max_message,
            ..Settings::new(server)
        }))
    }
}
