//! Certificates that change while they are in use.

use tollgate::tls::{Side, TlsError};

use super::certificates::{Authority, get};
use super::support::runtime;
use super::{Ours, connect, is_answered, question, serve};

#[test]
fn new_connections_meet_the_new_certificate_and_open_ones_live_on() {
    let ours = Ours::new();
    let identity = ours.identity(Side::Grpc);
    let server = serve(|options| options.grpc_tls = Some(identity.clone()));
    let next = Authority::new();
    runtime().block_on(async {
        let mut client = connect(&server, &ours.authority, None).await.unwrap();
        client.should_rate_limit(question()).await.unwrap();
        next.issue(&["localhost"]).write(ours.folder.path(), "server");
        assert!(connect(&server, &ours.authority, None).await.is_ok(), "nobody has read it yet");
        assert!(identity.reload().unwrap());
        client.should_rate_limit(question()).await.unwrap();
        assert!(connect(&server, &ours.authority, None).await.is_err());
        let mut client = connect(&server, &next, None).await.unwrap();
        client.should_rate_limit(question()).await.unwrap();
    });
}

#[test]
fn who_vouches_for_callers_can_change() {
    let (before, after) = (Authority::new(), Authority::new());
    let ours = Ours::new().letting_in(&before, &[]);
    let (grpc, http) = (ours.identity(Side::Grpc), ours.identity(Side::Http));
    let server = serve(|options| {
        (options.grpc_tls, options.http_tls) = (Some(grpc.clone()), Some(http.clone()));
    });
    let (old, new) = (before.issue(&[]), after.issue(&[]));
    let calls = |shown| is_answered(&server, &ours.authority, Some(shown));
    let asks = |shown| get(server.http, &ours.authority, Some(shown), "/healthz").is_ok();
    assert_eq!([calls(&old), asks(&old), calls(&new), asks(&new)], [true, true, false, false]);
    std::fs::write(ours.folder.path().join("callers.pem"), after.pem()).unwrap();
    assert!(grpc.reload().unwrap() && http.reload().unwrap());
    assert_eq!([calls(&old), asks(&old), calls(&new), asks(&new)], [false, false, true, true]);
}

#[test]
fn what_cannot_be_used_leaves_the_one_before_in_force() {
    let ours = Ours::new();
    let identity = ours.identity(Side::Grpc);
    let server = serve(|options| options.grpc_tls = Some(identity.clone()));
    let next = Authority::new().issue(&["localhost"]);
    // The certificate has come, and its key has not yet.
    std::fs::write(&ours.files.certificate, &next.certificate).unwrap();
    let error = identity.reload().unwrap_err();
    assert!(matches!(error, TlsError::Pair { .. }), "{error}");
    assert!(is_answered(&server, &ours.authority, None));
    std::fs::remove_file(&ours.files.certificate).unwrap();
    let error = identity.reload().unwrap_err();
    assert!(matches!(error, TlsError::File { .. }), "{error}");
    assert!(is_answered(&server, &ours.authority, None));
}
