//! A control plane that demands TLS 1.3 and a client certificate, as Envoy Gateway's does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::control_plane::{ControlPlane, Tollgate, config, snapshot};
use crate::certificates::Authority;
use crate::support::eventually;

/// Certificates for a control plane named `control-plane`, and for its client, from one CA.
struct Files {
    folder: TempDir,
    ca: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let server = authority.issue(&["control-plane"]).write(folder.path(), "server");
        let client = authority.issue(&["ratelimit"]).write(folder.path(), "client");
        Self { folder, ca, server, client }
    }

    fn control_plane(&self) -> ControlPlane {
        let (certificate, key) = &self.server;
        let pair = ["-cert", text(certificate), "-key", text(key)];
        ControlPlane::with(&[&pair[..], &["-client-ca", text(&self.ca)]].concat())
    }

    fn ca_flags(&self) -> [&str; 2] {
        ["--xds-tls-ca", text(&self.ca)]
    }

    fn client_flags(&self) -> [&str; 4] {
        ["--xds-tls-cert", text(&self.client.0), "--xds-tls-key", text(&self.client.1)]
    }
}

const NAME: [&str; 2] = ["--xds-tls-name", "control-plane"];

fn tollgate(control_plane: &ControlPlane, flags: &[&str]) -> Tollgate {
    Tollgate::at(&format!("https://{}", control_plane.address), flags)
}

/// Waits until the configuration page says why there is no connection. A peer that refuses a certificate sends an alert and
/// closes the connection. The alert is lost if tollgate writes between the two; a later attempt then reports it.
fn told(tollgate: &Tollgate, what: &str) {
    let error = || tollgate.config()["control_plane"]["error"]["error"].to_string();
    for _ in 0..3000 {
        if error().contains(what) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("never: {what}: {}", error());
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn both_sides_show_their_certificates() {
    let files = Files::new();
    let mut control_plane = files.control_plane();
    control_plane.set(&snapshot("1", &[config("a", 1)]));
    let flags = [&files.ca_flags()[..], &files.client_flags(), &NAME].concat();
    let tollgate = tollgate(&control_plane, &flags);
    control_plane.accepted("1");
    eventually("it is ready", || tollgate.get("/readyz").0 == "200");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_control_plane_with_another_name_or_from_another_ca_is_refused() {
    let files = Files::new();
    let control_plane = files.control_plane();
    // Its host has no certificate.
    let flags = [&files.ca_flags()[..], &files.client_flags()].concat();
    told(&tollgate(&control_plane, &flags), "not valid for name");
    let flags = [&flags[..], &["--xds-tls-name", "other"]].concat();
    told(&tollgate(&control_plane, &flags), "not valid for name");
    let other = files.folder.path().join("other.pem");
    std::fs::write(&other, Authority::new().pem()).unwrap();
    let flags = [&["--xds-tls-ca", text(&other)][..], &files.client_flags(), &NAME].concat();
    told(&tollgate(&control_plane, &flags), "UnknownIssuer");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn without_a_client_certificate_it_is_told_that_one_is_required() {
    let files = Files::new();
    let control_plane = files.control_plane();
    let flags = [&files.ca_flags()[..], &NAME].concat();
    told(&tollgate(&control_plane, &flags), "CertificateRequired");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_certificate_that_is_renewed_is_shown_at_the_next_connection() {
    let files = Files::new();
    let control_plane = files.control_plane();
    Authority::new().issue(&["ratelimit"]).write(files.folder.path(), "client");
    let flags = [&files.ca_flags()[..], &files.client_flags(), &NAME].concat();
    let tollgate = tollgate(&control_plane, &flags);
    // From a CA that the control plane does not know.
    told(&tollgate, "alert: UnknownCA");
    let (certificate, key) = &files.server;
    std::fs::copy(certificate, &files.client.0).unwrap();
    std::fs::copy(key, &files.client.1).unwrap();
    control_plane.next("request");
}
