//! An HTTP client for one request to a server, over TCP, TLS or a Unix domain socket.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use clap::Args;
use http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::Failure;
use super::address::ServerAddress;
use super::connection::{ClientTls, Connection, NoAnswer, Protocol};

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
    addr: ServerAddress,
    #[command(flatten)]
    tls: ClientTls,
}

/// The response of a server.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl HttpServer {
    pub(super) const fn new(addr: ServerAddress, tls: ClientTls) -> Self {
        Self { addr, tls }
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
        let hint = "set --addr to the address of `tollgate serve --http`";
        self.send(path, token, body).map_err(|error| error.or_advise(hint).into())
    }

    /// Does what [`Self::ask`] does; its errors may have no hint, since the flag may have another name.
    ///
    /// # Errors
    /// If there is no response: the address and the cause.
    pub(super) fn send(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<HttpResponse, NoAnswer> {
        let answer = self.request(path, token, body).and_then(|request| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| NoAnswer::plain(error.to_string()))?.block_on(async {
                let late = |_| NoAnswer::plain(format!("no answer within {TIMEOUT:?}"));
                tokio::time::timeout(TIMEOUT, self.exchange(request)).await.map_err(late)?
            })
        });
        answer.map_err(|error| error.after(&format!("cannot reach {}", self.addr)))
    }

    fn request(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<Request<Body>, NoAnswer> {
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
        let request = request.body(Body::from(body.unwrap_or_default()));
        request.map_err(|error| NoAnswer::plain(error.to_string()))
    }

    async fn exchange(&self, request: Request<Body>) -> Result<HttpResponse, NoAnswer> {
        let connection = Connection::open(&self.addr, &self.tls, Protocol::Http1).await?;
        let faults = connection.faults();
        exchange(connection, request).await.map_err(|error| faults.or(error))
    }
}

async fn exchange(connection: Connection, request: Request<Body>) -> Result<HttpResponse, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    // Its errors also fail the request below.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), MAX_RESPONSE).await?;
    Ok(HttpResponse { status, body: String::from_utf8_lossy(&body).into_owned() })
}
