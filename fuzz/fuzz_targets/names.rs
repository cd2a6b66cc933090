//! The names in a caller's certificate. A line with the name that lets in; then a certificate, or the
//! alternative names of one.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;
use tollgate::tls::{Callers, Name};
use tollgate_fuzz::der;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(allowed) = std::str::from_utf8(&data[..end]) else { return };
    let allowed: Name = match allowed.parse() {
        Ok(name) => name,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let der = &data[end + 1..];
    check_any(&allowed, der);
    let certificate = der::certificate(der);
    check_any(&allowed, &certificate);
    if let Some(names) = der::names(der) {
        check_read(&allowed, &names, &certificate);
    }
});

fn allows(allowed: &Name, certificate: &[u8]) -> bool {
    let callers = Callers { authority: PathBuf::new(), names: vec![allowed.clone()] };
    callers.allow(&CertificateDer::from(certificate))
}

/// No certificate lets in without the name.
fn check_any(allowed: &Name, certificate: &[u8]) {
    if allows(allowed, certificate) {
        let (Name::Dns(name) | Name::Uri(name)) = allowed;
        let mut parts = certificate.windows(name.len());
        let is_it = |part: &[u8]| part.eq_ignore_ascii_case(name.as_bytes());
        assert!(parts.any(is_it), "the name is not in it");
    }
}

/// One of which the names can be read lets in if one is the allowed one, and of its kind. What is no DNS name
/// and no URI may stand before it.
fn check_read(allowed: &Name, names: &[der::Shown<'_>], certificate: &[u8]) {
    let is_it = |(tag, shown): &der::Shown<'_>| match allowed {
        Name::Dns(name) => *tag == der::DNS && shown.eq_ignore_ascii_case(name.as_bytes()),
        Name::Uri(name) => *tag == der::URI && *shown == name.as_bytes(),
    };
    let has = names.iter().any(is_it);
    let is_allowed = allows(allowed, certificate);
    assert!(has || !is_allowed, "let in without its name");
    if names.iter().all(|(tag, _)| matches!(*tag, der::DNS | der::URI)) {
        assert_eq!(is_allowed, has, "kept out with its name");
    }
}
