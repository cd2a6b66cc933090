//! Checks the host that a request names, and the site of the page for which a browser sends it.
//!
//! This prevents DNS rebinding: the owner of a name can point it at this machine, and a page under that name is then of
//! the same origin as this server. It cannot change the `Host` that its browser sends. IP addresses are not looked up,
//! so they cannot be rebound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio_rustls::rustls::pki_types::DnsName;

use super::ApiError;
use crate::tls::Identity;

/// The paths that are answered for any `Host`, since probes and scrapers use any name. Their answers are about the
/// process and the policy, not about clients.
pub(super) const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The name of the local machine, which is never another one.
const LOCALHOST: &str = "localhost";

/// The header in which browsers send how the site of the requesting page relates to this one. Pages cannot change it.
pub(super) const FETCH_SITE: &str = "sec-fetch-site";

const OTHER_HOST: &str = "`Host` names another server; use an IP address, localhost, or a name that is set with \
                          `tollgate serve --http-host NAME`";

const OTHER_SITE: &str =
    "a page of another site sent this request; open this server's own page, or use no browser";

/// A DNS name of this server, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The text is not a DNS name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a DNS name without a port, as in tollgate.example.org; IP addresses and localhost are always allowed"
)]
pub struct HostNameError;

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        match DnsName::try_from(name) {
            Ok(_) if name.parse::<IpAddr>().is_err() => Ok(Self(name.to_ascii_lowercase())),
            _ => Err(HostNameError),
        }
    }
}

/// The names of this server.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    /// The names of `--http-host`.
    pub(super) names: Vec<HostName>,
    /// The identity, whose certificate has names as well.
    pub(super) tls: Option<Identity>,
    /// Whether the server listens on a Unix domain socket, which browsers cannot reach.
    pub(super) is_unix_socket: bool,
}

impl Hosts {
    /// Whether an authority is a host of this server.
    fn is_own_host(&self, authority: &str) -> bool {
        let Some(host) = host(authority) else { return false };
        is_address(&host) || host == LOCALHOST || self.has_name(&host)
    }

    fn has_name(&self, host: &str) -> bool {
        let is_given = self.names.iter().any(|HostName(name)| name == host);
        is_given || self.tls.as_ref().is_some_and(|tls| tls.covers_host(host))
    }

    /// Whether a request names this server and no other.
    fn has_own_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
        let mut named: Vec<_> = headers.get_all(header::HOST).iter().map(text).collect();
        named.extend(uri.authority().map(ToString::to_string));
        !named.is_empty() && named.iter().all(|authority| self.is_own_host(authority))
    }

    /// Whether a browser sends the request for a page of another site. A page under one of this server's names is its
    /// own, even if a proxy has changed `Host`.
    fn is_cross_site(&self, method: &Method, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(origin) = text(header::ORIGIN.as_str()) {
            return !self.is_own_origin(origin, text(header::HOST.as_str()).unwrap_or_default());
        }
        // Another site may link to the page; it cannot read the answer.
        let is_read = [Method::GET, Method::HEAD].contains(method);
        let site = text(FETCH_SITE).unwrap_or("none");
        !is_read && !["same-origin", "none"].contains(&site)
    }

    fn is_own_origin(&self, origin: &str, requested: &str) -> bool {
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let is_given = host(authority).is_some_and(|host| self.has_name(&host));
        authority.eq_ignore_ascii_case(requested) || is_given
    }
}

/// The host of an authority in lower case, without port, brackets and trailing dot.
fn host(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok().filter(|_| !authority.contains('@'))?;
    let host = authority.host().trim_matches(['[', ']']);
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty())
}

fn is_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok()
}

/// Rejects requests that name another server or come from a page of another site.
pub(super) async fn admit(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = OPEN.contains(&request.uri().path());
    if !is_open && !hosts.is_unix_socket {
        if !hosts.has_own_host(request.uri(), request.headers()) {
            return ApiError::new(StatusCode::MISDIRECTED_REQUEST, OTHER_HOST).into();
        }
        if hosts.is_cross_site(request.method(), request.headers()) {
            return ApiError::new(StatusCode::FORBIDDEN, OTHER_SITE).into();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        Hosts { names, tls: None, is_unix_socket: false }
    }

    #[test]
    fn a_name_is_one_of_dns_without_a_port() {
        let name = |text: &str| text.parse::<HostName>();
        assert_eq!(name("Tollgate.Example.org"), Ok(HostName("tollgate.example.org".into())));
        assert_eq!(name("tollgate."), name("tollgate"));
        for wrong in
            ["", ".", "a:8080", "http://a", "*.a", "a b", "127.0.0.1", "[::1]", "a/b", "a,b"]
        {
            assert_eq!(name(wrong), Err(HostNameError), "{wrong:?}");
        }
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_own_hosts() {
        let hosts = hosts(&["tollgate.example.org"]);
        for ours in [
            "127.0.0.1",
            "10.0.0.7:8080",
            "[::1]:8080",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "tollgate.example.org",
            "TOLLGATE.example.org.:9999",
        ] {
            assert!(hosts.is_own_host(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1@evil.example",
            "a.tollgate.example.org",
            "example.org",
            ":8080",
            "[::1",
            "127.1",
            "0x7f.0.0.1",
            "localhost:80:80",
            "localhost/",
            "evil.example localhost",
        ] {
            assert!(!hosts.is_own_host(other), "{other}");
        }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_request_names_one_host_or_more_all_of_them_own_hosts() {
        let hosts = hosts(&[]);
        let has_own_host = |uri: &str, all: &[(&'static str, &str)]| {
            hosts.has_own_host(&uri.parse().unwrap(), &headers(all))
        };
        assert!(has_own_host("/", &[("host", "localhost:8080")]));
        assert!(has_own_host("http://127.0.0.1:8080/", &[("host", "localhost:8080")]));
        assert!(!has_own_host("/", &[]));
        assert!(!has_own_host("/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!has_own_host("http://evil.example/", &[("host", "localhost")]));
        assert!(!has_own_host("http://localhost/", &[("host", "evil.example")]));
    }

    #[test]
    fn a_page_is_of_another_site_unless_it_is_of_the_requested_host_or_a_configured_name() {
        let hosts = hosts(&["tollgate.example.org"]);
        let is_cross_site = |method: &Method, all: &[(&'static str, &str)]| {
            let host = [("host", "127.0.0.1:8080")];
            hosts.is_cross_site(method, &headers(&[&host, all].concat()))
        };
        for method in [Method::GET, Method::POST] {
            assert!(!is_cross_site(&method, &[]), "curl");
            for own in
                ["http://127.0.0.1:8080", "https://127.0.0.1:8080", "https://tollgate.example.org"]
            {
                assert!(!is_cross_site(&method, &[("origin", own)]), "{own}");
            }
            for other in [
                "null",
                "",
                "http://127.0.0.1:3000",
                "http://127.0.0.1",
                "https://evil.example",
                "\u{e9}",
            ] {
                assert!(is_cross_site(&method, &[("origin", other)]), "{other}");
            }
        }
        for site in ["cross-site", "same-site", "something new"] {
            assert!(is_cross_site(&Method::POST, &[(FETCH_SITE, site)]), "{site}");
            assert!(!is_cross_site(&Method::GET, &[(FETCH_SITE, site)]), "a link: {site}");
        }
        for site in ["same-origin", "none"] {
            assert!(!is_cross_site(&Method::POST, &[(FETCH_SITE, site)]), "{site}");
        }
    }
}
