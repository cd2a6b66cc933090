//! Calls of a rate-limit service over a bare HTTP/2 connection.

#![allow(dead_code, reason = "no load uses all of it")]

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use prost::Message;
use tollgate::wire;

/// Where the code of a response stands: behind gRPC's five bytes, in field 1.
const OVER_LIMIT: [u8; 2] = [0x08, 0x02];

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// One descriptor of these entries, as gRPC frames it.
pub(crate) fn body(domain: &str, entries: &[(&str, &str)]) -> Bytes {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let message = wire::request(domain, entries, 1, false).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

pub(crate) fn request() -> Result<http::Request<()>, http::Error> {
    http::Request::post(
        "http://tollgate/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
    )
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(())
}

pub(crate) async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, Failure> {
    connect_as(address, &Builder::new()).await
}

/// Connects with other settings than the usual ones.
pub(crate) async fn connect_as(
    address: SocketAddr,
    settings: &Builder,
) -> Result<SendRequest<Bytes>, Failure> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = settings.handshake(stream).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Asks, and returns whether the answer is a denial.
pub(crate) async fn call(client: &mut SendRequest<Bytes>, body: Bytes) -> Result<bool, Failure> {
    let mut ready = client.clone().ready().await?;
    let (response, mut stream) = ready.send_request(request()?, false)?;
    stream.send_data(body, true)?;
    let mut answer = response.await?.into_body();
    let mut is_denied = false;
    while let Some(data) = answer.data().await {
        let data = data?;
        is_denied |= data.get(5..7) == Some(&OVER_LIMIT);
        answer.flow_control().release_capacity(data.len())?;
    }
    let status = answer.trailers().await?.and_then(|trailers| trailers.get("grpc-status").cloned());
    if status.is_none_or(|status| status != "0") {
        return Err("a call failed".into());
    }
    Ok(is_denied)
}
