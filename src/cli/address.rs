//! The addresses of servers that commands call.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use tokio_rustls::rustls::pki_types::ServerName;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerAddress {
    /// Host and port.
    Plain(String),
    /// Host and port, and the host as the name that the server's certificate must have.
    Tls(String, ServerName<'static>),
    Unix(PathBuf),
}

impl ServerAddress {
    /// The value of `Host` and `:authority`.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Plain(authority) | Self::Tls(authority, _) => authority,
            Self::Unix(_) => "localhost",
        }
    }

    pub(super) const fn scheme(&self) -> &'static str {
        match self {
            Self::Tls(..) => "https",
            Self::Plain(_) | Self::Unix(_) => "http",
        }
    }

    /// Reads an address that may be without a scheme, as `HOST:PORT` for plain text.
    ///
    /// # Errors
    /// How one is written.
    pub(super) fn of_grpc(text: &str) -> Result<Self, &'static str> {
        let has_scheme = text.starts_with("unix:") || text.contains("://");
        let read = if has_scheme { text.parse() } else { format!("http://{text}").parse() };
        let address = read.map_err(|_| GRPC_FORMS)?;
        // Port 80 would be a guess.
        let has_port = has_scheme || Uri::from_str(text).is_ok_and(|uri| uri.port().is_some());
        if has_port { Ok(address) } else { Err(GRPC_FORMS) }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority, _) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display().to_string().escape_debug()),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(FORMS) } else { Ok(Self::Unix(path.into())) };
        }
        let uri = Uri::from_str(text).map_err(|_| FORMS)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(FORMS)?;
        let is_whole = uri.path() == "/" && uri.query().is_none();
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let at = |port| format!("{host}:{}", uri.port_u16().unwrap_or(port));
        match uri.scheme_str() {
            Some("http") if is_whole && !has_user => Ok(Self::Plain(at(80))),
            Some("https") if is_whole && !has_user => {
                let bare = host.trim_matches(['[', ']']).to_owned();
                Ok(Self::Tls(at(443), ServerName::try_from(bare).map_err(|_| FORMS)?))
            }
            _ => Err(FORMS),
        }
    }
}

const FORMS: &str = "write http://HOST:PORT, https://HOST:PORT or unix:PATH";

const GRPC_FORMS: &str = "write HOST:PORT, https://HOST:PORT or unix:PATH";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_path_query_or_user() {
        let read = |text: &str| text.parse::<ServerAddress>().map(|address| address.to_string());
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
            assert_eq!(read(wrong), Err(FORMS), "{wrong}");
        }
    }

    #[test]
    fn an_address_of_grpc_may_lack_the_scheme_but_not_the_port() {
        let read = |text| ServerAddress::of_grpc(text).map(|address| address.to_string());
        for (text, expected) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("tollgate:8081", "http://tollgate:8081"),
            ("https://tollgate:8081", "https://tollgate:8081"),
            ("unix:grpc.sock", "unix:grpc.sock"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()));
        }
        for wrong in ["", "tollgate", "a b", "127.0.0.1:http:80", "unix:", "ftp://a:1", "a:1/b"] {
            assert_eq!(read(wrong), Err(GRPC_FORMS), "{wrong}");
        }
    }
}
