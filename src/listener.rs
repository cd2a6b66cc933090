//! Accepting connections, over gRPC and over HTTP alike.

mod address;
mod socket;

use std::io;
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::address::{Address, AddressError};

use self::socket::SocketListener;

/// How long to pause when the system refuses a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that connections come from.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(SocketListener),
}

/// A connection that was accepted, and is in no runtime's care yet.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix domain socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Listens from now on. A Unix domain socket whose file is there already and that nobody listens on is
    /// taken over.
    ///
    /// # Errors
    /// What the system says, as where the address is taken or not this machine's. For a Unix domain socket
    /// also where its file is none of a socket.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = Address::Tcp(listener.local_addr()?);
                Self { address, socket: Socket::Tcp(listener) }
            }
            Address::Unix(path) => {
                let listener = SocketListener::bind(path).await?;
                Self { address: address.clone(), socket: Socket::Unix(listener) }
            }
        })
    }

    /// Where it listens: of TCP the port that was free, where port 0 was asked for.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection. One that its caller gave up is nobody's trouble. Where the system has no more to
    /// give, as when files run out, asking again at once would only burn what is left, and saying so each time
    /// would fill the log.
    pub async fn accept(&self) -> Stream {
        let mut is_told = false;
        loop {
            match self.next().await {
                Ok(stream) => return stream,
                Err(error)
                    if matches!(
                        error.kind(),
                        ConnectionAborted | ConnectionReset | Interrupted
                    ) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "connections cannot be accepted for now");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn next(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().await?.0.into_std().map(Stream::Tcp),
            Socket::Unix(listener) => listener.accept().await?.into_std().map(Stream::Unix),
        }
    }
}
