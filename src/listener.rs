//! Accepting connections, over gRPC and over HTTP alike.

mod address;
mod socket;

use std::io;
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::address::{Address, AddressError};

use self::socket::{ParkedSocket, SocketListener};

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

/// A listener on its way from one runtime to another. Who connects meanwhile waits in the system's queue.
#[derive(Debug)]
pub struct ParkedListener {
    address: Address,
    socket: Parked,
}

#[derive(Debug)]
enum Parked {
    Tcp(std::net::TcpListener),
    Unix(ParkedSocket),
}

impl ParkedListener {
    /// Listens in the runtime of the caller.
    ///
    /// # Errors
    /// What the system says.
    pub fn unpark(self) -> io::Result<Listener> {
        let socket = match self.socket {
            Parked::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            Parked::Unix(listener) => Socket::Unix(listener.unpark()?),
        };
        Ok(Listener { address: self.address, socket })
    }
}

/// A connection that was accepted, and is in no runtime's care yet.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix domain socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// The address of the other end, which a Unix domain socket does not have.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            // Who is gone already has none.
            Self::Tcp(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
            Self::Unix(_) => None,
        }
    }
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

    /// Takes it out of its runtime, for another to take it up.
    ///
    /// # Errors
    /// What the system says.
    pub fn park(self) -> io::Result<ParkedListener> {
        let socket = match self.socket {
            Socket::Tcp(listener) => Parked::Tcp(listener.into_std()?),
            Socket::Unix(listener) => Parked::Unix(listener.park()?),
        };
        Ok(ParkedListener { address: self.address, socket })
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
