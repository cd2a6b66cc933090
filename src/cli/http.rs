//! An HTTP client for one request to a server, over TCP, TLS or a Unix domain socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use clap::Args;
use http::{Method, Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::Failure;
use crate::file;

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum bytes of a response.
const MAX_RESPONSE: usize = 16 << 20;

/// The address of a server, and TLS.
#[derive(Debug, Args)]
pub(super) struct HttpServer {
    /// Address of the server's HTTP side: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_ADDR",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        global = true
    )]
    addr: HttpAddress,
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
}

/// The response of a server.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl HttpServer {
    /// The server at an address without TLS.
    pub(super) const fn without_tls(addr: HttpAddress) -> Self {
        Self { addr, tls_ca: None, tls_cert: None, tls_key: None }
    }

    /// Sends a GET, or a POST if there is a body.
    ///
    /// # Errors
    /// If there is no response: the address, the cause and a hint.
    pub(super) fn ask(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<HttpResponse, Failure> {
        self.send(path, token, body).map_err(|error| {
            format!("{error}; set --addr to the address of `tollgate serve --http`").into()
        })
    }

    /// Does what [`Self::ask`] does; its errors have no hint, since the flag may have another name.
    ///
    /// # Errors
    /// If there is no response: the address and the cause.
    pub(super) fn send(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<HttpResponse, Failure> {
        let mut request = Request::builder()
            .method(if body.is_some() { Method::POST } else { Method::GET })
            .uri(path)
            .header(header::HOST, self.addr.host());
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.unwrap_or_default()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async {
            let late = |_| format!("no answer within {TIMEOUT:?}");
            tokio::time::timeout(TIMEOUT, self.exchange(request)).await.map_err(late)?
        });
        let addr = &self.addr;
        answer.map_err(|error| format!("cannot reach {addr}: {error}").into())
    }

    async fn exchange(&self, request: Request<Body>) -> Result<HttpResponse, Failure> {
        match &self.addr {
            HttpAddress::Unix(path) => exchange(UnixStream::connect(path).await?, request).await,
            HttpAddress::Plain(authority) => {
                exchange(TcpStream::connect(authority).await?, request).await
            }
            HttpAddress::Tls(authority, name) => {
                let connector = TlsConnector::from(Arc::new(self.tls()?));
                let stream = TcpStream::connect(authority).await?;
                exchange(connector.connect(name.clone(), stream).await?, request).await
            }
        }
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let ca = self.tls_ca.as_ref();
        let ca =
            ca.ok_or("set --tls-ca to a file with the CA certificates that verify the server")?;
        let invalid = |path: &PathBuf| {
            let path = path.display().to_string();
            move |error| format!("{path}: {error}")
        };
        let mut roots = RootCertStore::empty();
        let text = read(ca)?;
        for root in CertificateDer::pem_slice_iter(&text) {
            roots.add(root.map_err(invalid(ca))?)?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let Some((cert, key)) = self.tls_cert.as_ref().zip(self.tls_key.as_ref()) else {
            return Ok(config.with_no_client_auth());
        };
        let text = read(cert)?;
        let chain = CertificateDer::pem_slice_iter(&text);
        let chain = chain.collect::<Result<_, _>>().map_err(invalid(cert))?;
        let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(invalid(key))?;
        Ok(config.with_client_auth_cert(chain, key)?)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, file::MAX_PEM).map_err(|error| format!("{}: {error}", path.display()))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<HttpResponse, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its errors also fail the request below.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), MAX_RESPONSE).await?;
    Ok(HttpResponse { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HttpAddress {
    /// Host and port.
    Plain(String),
    /// Host and port, and the name that the server's certificate must have.
    Tls(String, ServerName<'static>),
    Unix(PathBuf),
}

impl HttpAddress {
    fn host(&self) -> &str {
        match self {
            Self::Plain(authority) | Self::Tls(authority, _) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority, _) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display().to_string().escape_debug()),
        }
    }
}

impl FromStr for HttpAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(ADDRESS_FORMS) } else { Ok(Self::Unix(path.into())) };
        }
        let uri = Uri::from_str(text).map_err(|_| ADDRESS_FORMS)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(ADDRESS_FORMS)?;
        let is_whole = uri.path() == "/" && uri.query().is_none();
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let at = |port| format!("{host}:{}", uri.port_u16().unwrap_or(port));
        match uri.scheme_str() {
            Some("http") if is_whole && !has_user => Ok(Self::Plain(at(80))),
            Some("https") if is_whole && !has_user => {
                let bare = host.trim_matches(['[', ']']).to_owned();
                Ok(Self::Tls(at(443), ServerName::try_from(bare).map_err(|_| ADDRESS_FORMS)?))
            }
            _ => Err(ADDRESS_FORMS),
        }
    }
}

/// Reads an address without TLS.
///
/// # Errors
/// How one is written.
pub(super) fn plain_address(text: &str) -> Result<HttpAddress, &'static str> {
    match text.parse::<HttpAddress>()? {
        HttpAddress::Tls(..) => {
            Err("https is not supported here; write http://HOST:PORT or unix:PATH")
        }
        plain => Ok(plain),
    }
}

const ADDRESS_FORMS: &str = "write http://HOST:PORT, https://HOST:PORT or unix:PATH";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_path_query_or_user() {
        let read = |text: &str| text.parse::<HttpAddress>().map(|address| address.to_string());
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://tollgate", "http://tollgate:80"),
            ("https://tollgate", "https://tollgate:443"),
            ("unix:/run/tollgate.sock", "unix:/run/tollgate.sock"),
            ("unix:http.sock", "unix:http.sock"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()));
        }
        for wrong in [
            "",
            "127.0.0.1:8080",
            "http://",
            "http://:8080",
            "http://a/metrics",
            "http://a?b",
            "http://me@a",
            "ftp://a",
            "unix:",
            "http://a b",
        ] {
            assert_eq!(read(wrong), Err(ADDRESS_FORMS), "{wrong}");
        }
    }
}
