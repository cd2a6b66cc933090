//! Checks which server a request names, and which site's page has a browser send it.
//!
//! The owner of a name can have it lead to this machine, and then a page under that name asks here as if it were a
//! page of ours: DNS rebinding. What it cannot change is the `Host` that its browser sends. IP addresses need no
//! name server, so that none of them can be made to lead elsewhere.

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

/// Paths that are answered whichever host is named, since probes and scrapers ask by any name. Their answers are about
/// the process and the policy, and not about clients.
pub(super) const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A name that leads to this machine wherever names are looked up.
const LOCALHOST: &str = "localhost";

/// The header in which browsers say which site's page asks. Pages cannot change it.
pub(super) const FETCH_SITE: &str = "sec-fetch-site";

const UNKNOWN: &str = "`Host` names another server; ask by an IP address, as localhost, or by a name that \
                       `tollgate serve --http-host NAME` was given";

const FOREIGN: &str =
    "a page of another site asks; open this server's own page, or ask without a browser";

/// A name under which the HTTP side may be asked, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The text is not such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a DNS name without a port, as in tollgate.example.org; IP addresses and localhost need not be named"
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
    /// Names that it was given.
    pub(super) names: Vec<HostName>,
    /// The identity whose certificate has names, too.
    pub(super) tls: Option<Identity>,
    /// Whether it listens where no browser can ask.
    pub(super) is_out_of_reach: bool,
}

impl Hosts {
    /// Whether this is a host of ours.
    fn knows(&self, authority: &str) -> bool {
        let Some(host) = host(authority) else { return false };
        is_address(&host) || host == LOCALHOST || self.has_name(&host)
    }

    fn has_name(&self, host: &str) -> bool {
        let is_given = self.names.iter().any(|HostName(name)| name == host);
        is_given || self.tls.as_ref().is_some_and(|tls| tls.is_for(host))
    }

    /// Whether a request names this server and no other.
    fn are_named(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
        let mut named: Vec<_> = headers.get_all(header::HOST).iter().map(text).collect();
        named.extend(uri.authority().map(ToString::to_string));
        !named.is_empty() && named.iter().all(|authority| self.knows(authority))
    }

    /// Whether a page that is not this server's has a browser ask. A page of a name that was given to this server
    /// is its own, though whoever stands in between may have changed `Host`.
    fn is_foreign(&self, method: &Method, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(origin) = text(header::ORIGIN.as_str()) {
            return !self.is_own(origin, text(header::HOST.as_str()).unwrap_or_default());
        }
        // A link from another site may lead to the page: what is only looked at cannot be read there.
        let is_looked_at = [Method::GET, Method::HEAD].contains(method);
        let site = text(FETCH_SITE).unwrap_or("none");
        !is_looked_at && !["same-origin", "none"].contains(&site)
    }

    fn is_own(&self, origin: &str, asked: &str) -> bool {
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let is_given = host(authority).is_some_and(|host| self.has_name(&host));
        authority.eq_ignore_ascii_case(asked) || is_given
    }
}

/// The host of an authority in lower case, without its port, brackets and the dot that a name may end with.
fn host(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok().filter(|_| !authority.contains('@'))?;
    let host = authority.host().trim_matches(['[', ']']);
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty())
}

fn is_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok()
}

/// Passes on requests that name this server, and do not come from a page of another site.
pub(super) async fn admit(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = OPEN.contains(&request.uri().path());
    if !is_open && !hosts.is_out_of_reach {
        if !hosts.are_named(request.uri(), request.headers()) {
            return ApiError::new(StatusCode::MISDIRECTED_REQUEST, UNKNOWN).into();
        }
        if hosts.is_foreign(request.method(), request.headers()) {
            return ApiError::new(StatusCode::FORBIDDEN, FOREIGN).into();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        Hosts { names, tls: None, is_out_of_reach: false }
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
    fn addresses_localhost_and_names_that_were_given_are_ours_and_no_others() {
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
            assert!(hosts.knows(ours), "{ours}");
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
            assert!(!hosts.knows(other), "{other}");
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
    fn every_host_that_a_request_names_must_be_ours_and_it_must_name_one() {
        let hosts = hosts(&[]);
        let are_named = |uri: &str, all: &[(&'static str, &str)]| {
            hosts.are_named(&uri.parse().unwrap(), &headers(all))
        };
        assert!(are_named("/", &[("host", "localhost:8080")]));
        assert!(are_named("http://127.0.0.1:8080/", &[("host", "localhost:8080")]));
        assert!(!are_named("/", &[]));
        assert!(!are_named("/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!are_named("http://evil.example/", &[("host", "localhost")]));
        assert!(!are_named("http://localhost/", &[("host", "evil.example")]));
    }

    #[test]
    fn a_page_is_foreign_unless_it_is_of_the_host_that_is_asked_or_of_a_name_that_was_given() {
        let hosts = hosts(&["tollgate.example.org"]);
        let is_foreign = |method: &Method, all: &[(&'static str, &str)]| {
            let host = [("host", "127.0.0.1:8080")];
            hosts.is_foreign(method, &headers(&[&host, all].concat()))
        };
        for method in [Method::GET, Method::POST] {
            assert!(!is_foreign(&method, &[]), "curl");
            for own in
                ["http://127.0.0.1:8080", "https://127.0.0.1:8080", "https://tollgate.example.org"]
            {
                assert!(!is_foreign(&method, &[("origin", own)]), "{own}");
            }
            for other in [
                "null",
                "",
                "http://127.0.0.1:3000",
                "http://127.0.0.1",
                "https://evil.example",
                "\u{e9}",
            ] {
                assert!(is_foreign(&method, &[("origin", other)]), "{other}");
            }
        }
        for site in ["cross-site", "same-site", "something new"] {
            assert!(is_foreign(&Method::POST, &[(FETCH_SITE, site)]), "{site}");
            assert!(!is_foreign(&Method::GET, &[(FETCH_SITE, site)]), "a link: {site}");
        }
        for site in ["same-origin", "none"] {
            assert!(!is_foreign(&Method::POST, &[(FETCH_SITE, site)]), "{site}");
        }
    }
}
