//! TCP options that detect a peer that is gone.
//!
//! Envoy does not probe its connections, and HTTP/2 pings would cost every call two readings of the clock; a control
//! plane may close a connection for its pings. So the system probes.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How long a connection is idle before the first probe, the interval of probes, and how many unanswered probes close
/// the connection.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(10);
const COUNT: u32 = 2;

/// How long sent bytes may stay unacknowledged, in milliseconds: as long as keepalive takes to close a connection.
#[cfg(target_os = "linux")]
const USER_TIMEOUT_MS: u32 = 80_000;

/// Enables keepalive on a connection, with a bound on unacknowledged bytes on Linux.
///
/// # Errors
/// The system's.
pub(crate) fn enable<Stream: AsFd>(stream: &Stream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, COUNT)?;
    // While bytes are unacknowledged the system does not probe; by default it retransmits for about 15 minutes.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_peer_that_vanished_is_noticed_by_the_system() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        enable(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), COUNT);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), USER_TIMEOUT_MS);
    }
}
