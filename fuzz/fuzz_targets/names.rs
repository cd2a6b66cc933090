//! The names in a caller's certificate. A line with the name that lets in; then a certificate, or the
//! alternative names of one.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;
use tollgate::tls::{ClientAuth, ClientName};
use tollgate_fuzz::der;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(allowed) = std::str::from_utf8(&data[..end]) else { return };
    let allowed: ClientName = match allowed.parse() {
        Ok(name) => name,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let der = &data[end + 1..];
    check_any(&allowed, der);
    // With wildcards, whatever the certificate has.
    allows(&allowed.clone().or_wildcard(), der);
    let certificate = der::certificate(der);
    check_any(&allowed, &certificate);
    if let Some(names) = der::names(der) {
        check_read(&allowed, &names, &certificate);
    }
});

fn allows(allowed: &ClientName, certificate: &[u8]) -> bool {
    let client_auth = ClientAuth { authority: PathBuf::new(), names: vec![allowed.clone()] };
    client_auth.allows(&CertificateDer::from(certificate))
}

/// No certificate lets in without the name.
fn check_any(allowed: &ClientName, certificate: &[u8]) {
    if allows(allowed, certificate) {
        let (ClientName::Dns(name) | ClientName::Host(name) | ClientName::Uri(name)) = allowed;
        let mut parts = certificate.windows(name.len());
        let is_it = |part: &[u8]| part.eq_ignore_ascii_case(name.as_bytes());
        assert!(parts.any(is_it), "the name is not in it");
    }
}

/// One of which the names can be read lets in if one is the allowed one, and of its kind. What is no DNS name
/// and no URI may stand before it.
fn check_read(allowed: &ClientName, names: &[der::Shown<'_>], certificate: &[u8]) {
    let is_it = |(tag, shown): &der::Shown<'_>| match allowed {
        ClientName::Dns(name) => *tag == der::DNS && shown.eq_ignore_ascii_case(name.as_bytes()),
        ClientName::Uri(name) => *tag == der::URI && *shown == name.as_bytes(),
        ClientName::Host(_) => unreachable!("a name that is read is matched as a whole"),
    };
    let has = names.iter().any(is_it);
    let is_allowed = allows(allowed, certificate);
    assert!(has || !is_allowed, "let in without its name");
    if names.iter().all(|(tag, _)| matches!(*tag, der::DNS | der::URI)) {
        assert_eq!(is_allowed, has, "kept out with its name");
    }
}
