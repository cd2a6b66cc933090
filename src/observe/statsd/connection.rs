//! Connections to statsd.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpStream, UdpSocket, lookup_host};

/// As much as a packet of Ethernet carries without being divided.
const MAX_DATAGRAM: usize = 1432;

const MAX_WRITE: usize = 64 << 10;

/// Where statistics are sent.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    /// By UDP instead of TCP.
    pub(super) is_udp: bool,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_udp { "udp" } else { "tcp" };
        write!(f, "{protocol}://{}:{}", self.host, self.port)
    }
}

impl Destination {
    /// The most bytes to be written together.
    pub(super) const fn max_batch(&self) -> usize {
        if self.is_udp { MAX_DATAGRAM } else { MAX_WRITE }
    }

    /// # Errors
    /// If the host has no address, or none that takes a connection.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let host = (&*self.host, self.port);
        if !self.is_udp {
            return Ok(Connection::Tcp(TcpStream::connect(host).await?));
        }
        let mut failure = Error::new(ErrorKind::NotFound, "the host has no address");
        for address in lookup_host(host).await? {
            match connect_udp(address).await {
                Ok(socket) => return Ok(Connection::Udp(socket)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

async fn connect_udp(to: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Connection {
    /// Whether the peer has not closed it, as far as is known. What it sends is dropped.
    pub(super) fn is_open(&self) -> bool {
        let Self::Tcp(stream) = self else { return true };
        let mut dropped = [0; 1024];
        loop {
            match stream.try_read(&mut dropped) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes all bytes, by UDP in one datagram.
    ///
    /// # Errors
    /// Those of the connection; by UDP also that the last datagram found nobody.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let stream = match self {
            Self::Udp(socket) => return socket.send(bytes).await.map(drop),
            Self::Tcp(stream) => stream,
        };
        while !bytes.is_empty() {
            stream.writable().await?;
            match stream.try_write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
