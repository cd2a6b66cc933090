//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The prefix of the address of a Unix domain socket.
const UNIX: &str = "unix:";

/// An address to listen on, as in `127.0.0.1:8081` or `unix:/run/tollgate.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP; port 0 picks a free port.
    Tcp(SocketAddr),
    /// This port over TCP on all addresses of this machine, over IPv6 and IPv4, as far as it has them; port 0 picks a
    /// free port.
    AllInterfaces(u16),
    /// A Unix domain socket; the path has 1 to 107 bytes on Linux.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has neither form.
    #[error("write ADDRESS:PORT, as in 127.0.0.1:8081, or unix:PATH")]
    Neither,
    /// The system does not take the path for a socket.
    #[error("the path of a Unix domain socket has 1 to 107 bytes; this one has {0}")]
    Path(usize),
}

impl Address {
    /// The address, if it is one over TCP.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::AllInterfaces(_) | Self::Unix(_) => None,
        }
    }

    /// The form of such an address, for error messages.
    pub const fn form(&self) -> &'static str {
        match self {
            Self::Tcp(_) | Self::AllInterfaces(_) => "ADDRESS:PORT",
            Self::Unix(_) => "unix:PATH",
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(Self::Tcp).map_err(|_| AddressError::Neither);
        };
        let is_path =
            !path.is_empty() && std::os::unix::net::SocketAddr::from_pathname(path).is_ok();
        if is_path { Ok(Self::Unix(path.into())) } else { Err(AddressError::Path(path.len())) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::AllInterfaces(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_displays_as_it_is_written() {
        for text in ["127.0.0.1:0", "[::1]:8081", "unix:/run/tollgate.sock", "unix:here.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!(matches!("unix:a:1".parse(), Ok(Address::Unix(path)) if path.as_os_str() == "a:1"));
        for text in ["", "8081", "localhost:8081", "/run/tollgate.sock", "UNIX:/a"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Neither), "{text:?}");
        }
    }

    #[test]
    fn the_length_of_a_path_is_bounded() {
        let of = |length: usize| format!("unix:{}", "a".repeat(length)).parse::<Address>();
        assert!(of(1).is_ok() && of(107).is_ok());
        assert_eq!([of(0), of(108)], [0, 108].map(|length| Err(AddressError::Path(length))));
    }
}
