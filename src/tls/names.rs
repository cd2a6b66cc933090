//! Names in certificates: those of clients, and the server's own.

use std::str::FromStr;

use tokio_rustls::rustls::pki_types::{CertificateDer, DnsName};
use webpki::EndEntityCert;

/// A subject alternative name that permits a client. It is matched as a whole, but for [`ClientName::Host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientName {
    /// A DNS name, matched ignoring case.
    Dns(String),
    /// A DNS name, which a wildcard in the certificate covers as well, as that of a server.
    Host(String),
    /// A URI, such as a SPIFFE ID, matched exactly.
    Uri(String),
}

/// Why a text is not a client's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientNameError {
    /// A name with a wildcard.
    #[error("names are matched as a whole, so `*` matches nothing; write every name")]
    Wildcard,
    /// Anything else.
    #[error("write a DNS name or a URI, as in envoy.example.org or spiffe://example.org/envoy")]
    Neither,
}

impl ClientName {
    /// The same, where a wildcard in the certificate covers a DNS name.
    #[must_use]
    pub fn or_wildcard(self) -> Self {
        match self {
            Self::Dns(name) => Self::Host(name),
            other => other,
        }
    }
}

impl FromStr for ClientName {
    type Err = ClientNameError;

    fn from_str(text: &str) -> Result<Self, ClientNameError> {
        if text.contains('*') {
            return Err(ClientNameError::Wildcard);
        }
        if let Some((scheme, rest)) = text.split_once(':') {
            let is_uri = is_scheme(scheme) && !rest.is_empty();
            let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            return Some(Self::Uri(text.to_owned()))
                .filter(|_| is_uri && is_plain)
                .ok_or(ClientNameError::Neither);
        }
        // DNS names in certificates do not end with a dot.
        match DnsName::try_from(text) {
            Ok(_) if !text.ends_with('.') => Ok(Self::Dns(text.to_owned())),
            _ => Err(ClientNameError::Neither),
        }
    }
}

/// The DNS names of a certificate; none if it cannot be read.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_dns_names().map(str::to_owned).collect()
}

/// Whether a name in a certificate covers a host. `*.` covers one label, as in browsers.
pub(super) fn covers(name: &str, host: &str) -> bool {
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((label, domain))) => {
            !label.is_empty() && rest.eq_ignore_ascii_case(domain)
        }
        (Some(_), None) => false,
        (None, _) => name.eq_ignore_ascii_case(host),
    }
}

fn is_scheme(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_name_or_a_uri() {
        let dns = |text: &str| Ok(ClientName::Dns(text.into()));
        let uri = |text: &str| Ok(ClientName::Uri(text.into()));
        assert_eq!("envoy.Example.org".parse::<ClientName>(), dns("envoy.Example.org"));
        assert_eq!("localhost".parse::<ClientName>(), dns("localhost"));
        let spiffe = "spiffe://example.org/ns/edge/sa/envoy";
        assert_eq!(spiffe.parse::<ClientName>(), uri(spiffe));
        assert_eq!("urn:uuid:1".parse::<ClientName>(), uri("urn:uuid:1"));
        for wrong in ["", " ", "a b", "envoy.", "spiffe:", ":x", "1a:x", "u:a b", "u:\u{1b}[31m"] {
            assert_eq!(wrong.parse::<ClientName>(), Err(ClientNameError::Neither), "{wrong:?}");
        }
        for wrong in ["*.example.org", "*", "spiffe://example.org/*"] {
            assert_eq!(wrong.parse::<ClientName>(), Err(ClientNameError::Wildcard), "{wrong:?}");
        }
    }

    #[test]
    fn a_wildcard_of_a_certificate_covers_one_label() {
        for (name, host, is_covered) in [
            ("tollgate.example.org", "Tollgate.Example.org", true),
            ("tollgate.example.org", "example.org", false),
            ("*.example.org", "tollgate.example.org", true),
            ("*.example.org", "a.tollgate.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "org", false),
        ] {
            assert_eq!(covers(name, host), is_covered, "{name} {host}");
        }
    }
}
