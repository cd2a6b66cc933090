//! Accepts connections over TCP and Unix domain sockets, for gRPC and HTTP.

mod address;
pub(crate) mod keepalive;
mod socket;

use std::io;
use std::io::ErrorKind::{AddrInUse, ConnectionAborted, ConnectionReset, Interrupted};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::address::{Address, AddressError};

use self::socket::{ParkedSocket, SocketListener};

/// The pause after the system failed to accept a connection.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
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

/// A listener between two runtimes. Connections wait in the system's queue meanwhile.
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
    /// Registers the listener with the current runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn unpark(self) -> io::Result<Listener> {
        let socket = match self.socket {
            Parked::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            Parked::Unix(listener) => Socket::Unix(listener.unpark()?),
        };
        Ok(Listener { address: self.address, socket })
    }
}

/// An accepted connection that is not registered with a runtime yet.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix domain socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// The address of the peer; `None` for a Unix domain socket.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            // A peer that has closed already has none.
            Self::Tcp(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Starts to listen. Replaces the file of a Unix domain socket without a listener.
    ///
    /// # Errors
    /// If the system refuses, as for an address that is taken or not local; or if the path of a Unix domain socket has
    /// a file of another kind.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => Self::over_tcp(TcpListener::bind(address).await?)?,
            Address::AllInterfaces(port) => {
                let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
                match TcpListener::bind(all).await {
                    Ok(listener) => Self::over_tcp(listener)?,
                    Err(error) if error.kind() == AddrInUse => return Err(error),
                    // A machine without IPv6 refuses the address or the whole family.
                    Err(_) => {
                        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
                        Self::over_tcp(TcpListener::bind(all).await?)?
                    }
                }
            }
            Address::Unix(path) => {
                let listener = SocketListener::bind(path).await?;
                Self { address: address.clone(), socket: Socket::Unix(listener) }
            }
        })
    }

    fn over_tcp(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { address: listener.local_addr()?.into(), socket: Socket::Tcp(listener) })
    }

    /// Removes the listener from its runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn park(self) -> io::Result<ParkedListener> {
        let socket = match self.socket {
            Socket::Tcp(listener) => Parked::Tcp(listener.into_std()?),
            Socket::Unix(listener) => Parked::Unix(listener.park()?),
        };
        Ok(ParkedListener { address: self.address, socket })
    }

    /// Where it listens. For port 0 this is the port that was picked.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection. Connections that were closed before are skipped. If the system is out of resources such as
    /// file descriptors, retries after a pause and logs the first failure only.
    pub async fn accept(&self) -> Stream {
        let mut is_logged = false;
        loop {
            match self.next().await {
                Ok(stream) => return stream,
                Err(error)
                    if matches!(
                        error.kind(),
                        ConnectionAborted | ConnectionReset | Interrupted
                    ) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::warn!(%error, "cannot accept connections; retrying");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
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
